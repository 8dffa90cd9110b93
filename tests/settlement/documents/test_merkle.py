"""The Merkle tree: the published roots of Certificate Transparency, and no proof for what is not in the list."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.documents import merkle
from settlement.documents.merkle import Proof

# The leaves and roots of RFC 6962's reference implementation (google/certificate-transparency, merkle_tree_test).
LEAVES = [
    bytes.fromhex(each)
    for each in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_root_is_the_published_one(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert merkle.root([]) == hashlib.sha256(b"").digest()


def test_a_published_path() -> None:
    # RFC 6962 section 2.1.3: the path of d0 among seven leaves is [b, h, l].
    path = merkle.proof(LEAVES[:7], 0).path
    b = hashlib.sha256(b"\x00" + LEAVES[1]).digest()
    assert (len(path), path[0]) == (3, b)


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=40), st.data())
def test_every_leaf_has_a_proof_and_it_is_of_that_leaf_only(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, proof = merkle.root(leaves), merkle.proof(leaves, index)
    assert merkle.verify(leaves[index], proof, root)
    assert not merkle.verify(leaves[index] + b"!", proof, root)
    # Another place or another length of the list is another claim, unless equal leaves make it as true.
    for place in range(len(leaves)):
        moved = Proof(index=place, size=len(leaves), path=proof.path)
        if merkle.verify(leaves[index], moved, root):
            assert leaves[place] == leaves[index]
    assert not merkle.verify(leaves[index], Proof(index=index, size=len(leaves), path=(*proof.path, root)), root)
    assert not merkle.verify(leaves[index], Proof(index=len(leaves), size=len(leaves), path=proof.path), root)


def test_a_node_is_not_taken_for_a_leaf() -> None:
    left, right = (hashlib.sha256(b"\x00" + leaf).digest() for leaf in LEAVES[:2])
    assert not merkle.verify(left + right, Proof(index=0, size=1, path=()), merkle.root(LEAVES[:2]))


@pytest.mark.parametrize("index", [-1, 8])
def test_no_proof_of_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        merkle.proof(LEAVES, index)
