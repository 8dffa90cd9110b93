"""References in a payer's words: found however they are typed, and never where there are none."""

from hypothesis import given
from hypothesis import strategies as st

from settlement.answers import references
from wallet.ground.ids import is_reference, new_reference

RF = "RF72A1B2C3D4E5F6G7H8"


def test_the_sample_is_a_reference_of_ours() -> None:
    made = new_reference()
    assert references.named((), (made,)) == (made,)
    assert len(made) == len(RF)


def spelled() -> dict[str, tuple[str, ...]]:
    rf = new_reference()
    fours = " ".join(rf[start : start + 4] for start in range(0, len(rf), 4))
    return {
        "as it is": (rf,),
        "in lower case": (rf.lower(),),
        "in fours": (fours,),
        "with signs": (fours.replace(" ", "-"),),
        "behind a word": (f"Top-up {rf} thanks",),
        "behind a prefix without a space": (f"REF{rf}",),
        "behind another RF": (f"RFRF{rf}",),
        "before letters": (f"{rf}ABC123",),
        "cut over two lines": (rf[:9], rf[9:]),
        "cut with words around": (f"Aufladung {rf[:11]}", f"{rf[11:]} danke"),
        "in numbered subfields": (f"?20{rf[:10]}?21{rf[10:]}",),
        "with letters for what they look like": (rf[:4] + rf[4:].replace("0", "O").replace("1", "L"),),
        "expected": (rf,),
    }


def test_however_it_is_typed() -> None:
    for _ in range(20):
        ways = spelled()
        (expected,) = ways.pop("expected")
        for how, texts in ways.items():
            assert expected in references.named((), texts), (how, texts)


def test_a_structured_reference_of_any_kind_is_taken_as_it_is() -> None:
    assert references.named(("rf18 5390 0754 7034",), ()) == ("RF18539007547034",)


def test_one_wrong_character_names_nothing() -> None:
    rf = new_reference()
    for place in range(4, len(rf)):
        other = "Z" if rf[place] != "Z" else "Y"
        assert references.named((), (rf[:place] + other + rf[place + 1 :],)) == ()


def test_two_are_two() -> None:
    one, two = new_reference(), new_reference()
    assert set(references.named((), (f"{one} and {two}",))) == {one, two}


@given(st.lists(st.text(max_size=300), max_size=5))
def test_any_text_at_all_names_only_what_has_right_check_digits(texts: list[str]) -> None:
    for found in references.named((), texts):
        assert is_reference(found)
