"""How a bank speaks: what it calls its entries, what it tells early, what it sums up, and how its files look."""

from dataclasses import dataclass
from enum import StrEnum

from hypothesis import strategies as st


class References(StrEnum):
    """The bank's own reference of an entry."""

    GOOD = "good"
    NONE = "none"
    SENTINEL = "sentinel"
    # A counter that starts again each day.
    DAILY = "daily"
    # A fee, a return or a reversal stands under the reference of what it is about.
    SHARED = "shared"
    # One in the notification, another in the statement.
    DIFFERENT = "different"
    # Under the details only, where the entry itself has none.
    DETAILS_ONLY = "details_only"


class Notifies(StrEnum):
    """How often a fact is told before the statement tells it."""

    ALWAYS = "always"
    SOMETIMES = "sometimes"
    NEVER = "never"
    TWICE = "twice"


class Sums(StrEnum):
    """Whether the payments that arrive on one day are one entry, and where the bank says which they were."""

    NO = "no"
    DETAILS_IN_BOTH = "details_in_both"
    DETAILS_IN_STATEMENT = "details_in_statement"
    DETAILS_IN_NOTIFICATION = "details_in_notification"
    DETAILS_NOWHERE = "details_nowhere"


class Again(StrEnum):
    """Whether a day's statement is told once before, shorter, and under which id."""

    NO = "no"
    SAME_ID = "same_id"
    OTHER_ID = "other_id"


class Pages(StrEnum):
    """Whether a day's statement comes in two files under one id, and what balances stand between them."""

    NO = "no"
    INTERIM = "interim"
    BARE = "bare"


class Words(StrEnum):
    """Where and how the payer's reference stands."""

    STRUCTURED = "structured"
    FREE = "free"
    SPACES = "spaces"
    LOWER = "lower"
    PREFIXED = "prefixed"
    CUT = "cut"
    END_TO_END = "end_to_end"


@dataclass(frozen=True)
class Form:
    """Version, namespace and encoding of a file."""

    version: int
    namespace: str
    encoding: str


_ISO = "urn:iso:std:iso:20022:tech:xsd:{kind}.001.{version:02}"
_STUZZA = "ISO:{kind}.001.{version:02}:APC:STUZZA:payments:003"
FORMS = (
    Form(8, _ISO, "UTF-8"),
    Form(2, _ISO, "UTF-8"),
    Form(2, _STUZZA, "UTF-8"),
    Form(8, _ISO, "ISO-8859-1"),
    Form(8, _ISO, "windows-1252"),
    Form(4, _ISO, "UTF-16"),
    Form(10, _ISO, "US-ASCII"),
)


@dataclass(frozen=True)
class Dialect:
    """One bank's ways."""

    references: References = References.GOOD
    notifies: Notifies = Notifies.ALWAYS
    # All of a day in one notification, or each fact in its own.
    by_day: bool = False
    sums: Sums = Sums.NO
    opening: bool = True
    again: Again = Again.NO
    pages: Pages = Pages.NO
    # Ids count from one each year.
    yearly_ids: bool = False
    # A reversal bears the sign of what it undoes; only the balances tell.
    original_sign: bool = False
    # A notification has no booking date.
    undated: bool = False
    # A statement also tells what is to come.
    pending: bool = False
    # It says whom our payments went to.
    payees: bool = True
    words: Words = Words.STRUCTURED
    form: Form = FORMS[0]


def dialects() -> st.SearchStrategy[Dialect]:
    """Any bank; the first of each is the plainest."""
    rarely = st.sampled_from([False, False, True])
    return st.builds(
        _consistent,
        st.builds(
            Dialect,
            references=st.sampled_from(References),
            notifies=st.sampled_from(Notifies),
            by_day=st.booleans(),
            sums=st.sampled_from([Sums.NO, *Sums]),
            opening=st.sampled_from([True, True, False]),
            again=st.sampled_from([Again.NO, *Again]),
            pages=st.sampled_from([Pages.NO, *Pages]),
            yearly_ids=rarely,
            original_sign=rarely,
            undated=rarely,
            pending=rarely,
            payees=st.sampled_from([True, True, False]),
            words=st.sampled_from(Words),
            form=st.sampled_from(FORMS),
        ),
    )


def _consistent(drawn: Dialect) -> Dialect:
    """A statement is told again longer, or comes in pages, but not both."""
    if drawn.again is not Again.NO and drawn.pages is not Pages.NO:
        return Dialect(**{**vars(drawn), "pages": Pages.NO})
    return drawn
