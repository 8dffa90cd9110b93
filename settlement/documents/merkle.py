"""A Merkle tree over a list (RFC 6962 section 2.1): one hash for all of it, and a short proof for each of its leaves.

Invariant: a leaf and a node never hash alike (0x00 before a leaf, 0x01 before a node), so no proof can pass a node off
for a leaf. Pure functions over bytes; anybody can check a proof with SHA-256 and nothing of ours.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LEAF, _NODE = b"\x00", b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The hashes beside the way from leaf number ``index`` (from 0) of ``size`` up to the root, lowest first."""

    index: int
    size: int
    path: tuple[bytes, ...]


def root(leaves: Iterable[bytes]) -> bytes:
    """The tree's hash (32 bytes); of no leaves, SHA-256 of nothing. Keeps a logarithm of the leaves in memory."""
    # Complete subtrees from left to right, each smaller than the one before: (leaves below, hash).
    subtrees: list[tuple[int, bytes]] = []
    for leaf in leaves:
        size, top = 1, _leaf(leaf)
        while subtrees and subtrees[-1][0] == size:
            size, top = 2 * size, _node(subtrees.pop()[1], top)
        subtrees.append((size, top))
    if not subtrees:
        return hashlib.sha256().digest()
    _, whole = subtrees.pop()
    while subtrees:
        whole = _node(subtrees.pop()[1], whole)
    return whole


def proof(leaves: Iterable[bytes], index: int) -> Proof:
    """The proof that leaf number ``index`` (from 0) is in the tree. Raises IndexError where there is no such leaf."""
    row: Sequence[bytes] = [_leaf(leaf) for leaf in leaves]
    size, at, path = len(row), index, []
    if not 0 <= index < size:
        raise IndexError(f"no leaf {index} among {size}")
    while len(row) > 1:
        # The last of an odd row has no neighbour and is itself on the row above.
        if at ^ 1 < len(row):
            path.append(row[at ^ 1])
        row = [_node(*pair) if len(pair := row[left : left + 2]) == 2 else pair[0] for left in range(0, len(row), 2)]
        at >>= 1
    return Proof(index=index, size=size, path=tuple(path))


def verify(leaf: bytes, proof: Proof, root: bytes) -> bool:
    """Whether the proof leads from the leaf to the root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= proof.index < proof.size:
        return False
    at, last, top = proof.index, proof.size - 1, _leaf(leaf)
    for beside in proof.path:
        if last == 0:
            return False
        if at & 1 or at == last:
            top = _node(beside, top)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            top = _node(top, beside)
        at, last = at >> 1, last >> 1
    return last == 0 and top == root


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(_LEAF + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
