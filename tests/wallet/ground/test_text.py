"""Text that pages, banks and databases take."""

from hypothesis import given
from hypothesis import strategies as st

from wallet.ground.text import is_clean


@given(text=st.text())
def test_clean_text_is_what_pages_banks_and_databases_take(text):
    odd = any(char.isprintable() is False and (ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000) for char in text)
    assert is_clean(text) == (not odd)
