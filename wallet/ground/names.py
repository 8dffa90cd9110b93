"""Names: what somebody is called, made comparable with what a bank writes.

Invariant: pure; the same name in capitals, without accents, turned round or with a title has the same key. Two people
may share one: a key finds who may be meant, and decides nothing.
"""

import itertools
import re
import unicodedata

# What stands before or behind a name in the languages of our banks, and what kind of company it is.
_TITLES = frozenset(
    "mr mrs ms miss sir madam dr prof phd m mme mlle me monsieur madame mademoiselle maitre herr frau fr hr dipl ing "
    "mag sig sra sr don dona et ou und oder and or "
    "gmbh ag kg ohg ug ev sa sas sarl eurl snc scop ltd llc inc plc bv nv spa srl sl oy ab".split()
)
# Vowels that are written with two letters where there are no dots, and the sharp s.
_DIGRAPHS = re.compile("(?<=[aou])e")
_LETTERS = re.compile(r"[^\W_]+")
_LONGEST_KEY = 140
# Of a payer with more words than these only the first are looked at: their combinations are asked for one by one.
_MOST_WORDS = 7


def key(name: str) -> str:
    """What names are compared by: their words without accents, capitals and titles, in alphabetical order."""
    return " ".join(_words(name))[:_LONGEST_KEY]


def keys(text: str) -> list[str]:
    """The keys of those who may be meant by a payer's name: with second names left out, or of one of two people."""
    words = _words(text)[:_MOST_WORDS]
    some = (itertools.combinations(words, size) for size in range(min(2, len(words)), len(words) + 1))
    return sorted({" ".join(chosen)[:_LONGEST_KEY] for each in some for chosen in each if chosen})


def _words(name: str) -> list[str]:
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", name.casefold().replace("ß", "ss"))
        if not unicodedata.combining(letter)
    )
    words = _LETTERS.findall(plain.replace("ø", "o").replace("ł", "l").replace("æ", "a"))
    named = [word for word in words if word not in _TITLES] or words
    return sorted(_DIGRAPHS.sub("", word) for word in named)
