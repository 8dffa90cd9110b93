"""Small days at the bank, each of a kind that goes wrong somewhere: its files, and what is right in the end.

They stand beside the folders of ``bank_messages/`` and are written by the dialects' own writer. Alice has announced
20.00 and 15.00, Bob 30.00; 10.00 of Carol's are on the way to her bank in a file of their own.
"""

import datetime as dt
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.dialects import camt
from tests.dialects.camt import Balance, Detail, Entry, Report
from tests.dialects.dialect import FORMS, Form

IBAN = "FR7630006000011234567890189"
_OTHER_IBAN = "DE02120300000000202051"
_MONDAY = dt.date(2026, 5, 11)
_CEST = dt.timezone(dt.timedelta(hours=2))
_PLAIN = FORMS[0]

File = tuple[str, bytes]


@dataclass(frozen=True)
class Names:
    """What the wallet calls things."""

    alice: str
    alice_too: str
    bob: str
    end_to_end_id: str
    message_id: str
    payment_information_id: str


@dataclass(frozen=True)
class Right:
    """What is right in the end: purses of Alice, Bob and Carol, what the books have in the bank, and open breaks."""

    purses: str
    bank: str
    breaks: tuple[str, ...] = ()
    withdrawal: str = "submitted"
    fees: str = "0.00"
    # Files that have to be refused, by their place.
    refused: tuple[int, ...] = ()
    # Files that have to stay where they are.
    left: tuple[int, ...] = ()


@dataclass(frozen=True)
class Day:
    """A case: what the bank writes, and what is right. ``reversible``: its files may come the other way round."""

    name: str
    files: Callable[[Names], Sequence[File]]
    right: Right
    reversible: bool = True


DAYS: list[Day] = []


def day(right: Right, *, reversible: bool = True) -> Callable[[Callable[[Names], Sequence[File]]], None]:
    """A case, under the name of the function that writes its files."""

    def add(files: Callable[[Names], Sequence[File]]) -> None:
        DAYS.append(Day(files.__name__, files, right, reversible))

    return add


# --- what a bank writes ----------------------------------------------------------------------------------------


def _in(cents: int, *said: str, ref: str | None = None, day: int = 0, **more: object) -> Entry:
    """A credit with one detail; ``said`` is structured if it begins with ``=``, else free text."""
    detail = _words(Detail(cents, party="Erika Exempel"), said)
    entry = Entry(cents, camt.IN, reference=ref, booked_on=_date(day), valued_on=_date(day), details=(detail,))
    return replace(entry, **more)  # type: ignore[arg-type]


def _words(detail: Detail, said: Sequence[str]) -> Detail:
    structured = tuple(each[1:] for each in said if each.startswith("="))
    return replace(detail, structured=structured, lines=tuple(each for each in said if not each.startswith("=")))


def _sum(*details: Detail, ref: str | None = None, bare: bool = False, code: tuple[str, str, str] = camt.IN) -> Entry:
    cents = sum(detail.cents for detail in details)
    return Entry(
        cents,
        code,
        reference=ref,
        booked_on=_date(0),
        valued_on=_date(0),
        details=() if bare else details,
        batch=("", len(details)),
    )


def _out(
    end_to_end_id: str, *, ref: str | None = None, back: bool = False, reason: str | None = None, **more: object
) -> Entry:
    """Our payment of 10.00 leaves, or comes back."""
    cents = 1_000 if back else -1_000
    detail = Detail(cents, end_to_end_id=end_to_end_id, reason=reason)
    code = camt.RETURN if reason else camt.OUT
    entry = Entry(cents, code, reference=ref, booked_on=_date(0), valued_on=_date(0), details=(detail,))
    return replace(entry, **more)  # type: ignore[arg-type]


def _fee(cents: int, *, ref: str | None = None, details: tuple[Detail, ...] = ()) -> Entry:
    return Entry(-cents, camt.FEE, reference=ref, booked_on=_date(0), valued_on=_date(0), details=details)


def _statement(
    name: str,
    opening: int | None,
    *entries: Entry,
    day: int = 0,
    moved: int | None = None,
    message: str = "",
    form: Form = _PLAIN,
    iban: str = IBAN,
    page: tuple[int, bool] | None = None,
    balances: tuple[Balance, ...] | None = None,
    hour: int = 20,
) -> File:
    """A ``camt.053``. ``opening`` in cents; ``moved``: what the balances say moved, if the entries say otherwise."""
    content = camt.write(
        "camt.053",
        form,
        message or f"M-{name}-{day}-{page}",
        [_report(name, opening, entries, day, moved, iban, page, balances, hour)],
    )
    return f"{name}.camt053.xml", content


def _report(
    name: str,
    opening: int | None,
    entries: Sequence[Entry],
    day: int = 0,
    moved: int | None = None,
    iban: str = IBAN,
    page: tuple[int, bool] | None = None,
    balances: tuple[Balance, ...] | None = None,
    hour: int = 20,
) -> Report:
    total = sum(entry.cents for entry in entries if entry.status == "BOOK") if moved is None else moved
    if balances is None:
        closing = Balance("CLBD", (opening or 0) + total, _date(day))
        balances = (closing,) if opening is None else (Balance("OPBD", opening, _date(day)), closing)
    at = dt.datetime.combine(_date(day), dt.time(hour), _CEST)
    return Report(name, iban, at, tuple(entries), balances, page)


def _notification(name: str, *entries: Entry, form: Form = _PLAIN, message: str = "") -> File:
    at = dt.datetime.combine(_MONDAY, dt.time(9), _CEST)
    return f"{name}.camt054.xml", camt.write(
        "camt.054", form, message or f"N-{name}", [Report(name, IBAN, at, entries)]
    )


def _undated(entry: Entry) -> Entry:
    return replace(entry, booked_on=None)


def _date(day: int) -> dt.date:
    return _MONDAY + dt.timedelta(days=day)


def _zip(name: str, *files: File) -> File:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as container:
        for inner, content in files:
            container.writestr(inner, content)
    return name, packed.getvalue()


# --- references ------------------------------------------------------------------------------------------------


@day(Right("20.00 30.00 0.00", "50.00"))
def details_with_references_of_their_own_under_an_entry_without_one(names: Names) -> Sequence[File]:
    alice, bob = _in(2_000, f"={names.alice}", ref="D1"), _in(3_000, f"={names.bob}", ref="D2")
    details = tuple(replace(each.details[0], reference=each.reference) for each in (alice, bob))
    return [_notification("N1", alice, bob), _statement("S1", 0, _sum(*details))]


@day(Right("40.00 0.00 0.00", "40.00"))
def the_same_sum_and_date_in_two_statements_without_references(names: Names) -> Sequence[File]:
    same = _in(2_000, f"={names.alice}")
    return [_statement("S1", 0, same, hour=12), _statement("S2", 2_000, same)]


@day(Right("40.00 0.00 0.00", "40.00"))
def the_same_payment_on_two_days_without_references(names: Names) -> Sequence[File]:
    return [
        _statement("S1", 0, _in(2_000, f"={names.alice}")),
        _statement("S2", 2_000, _in(2_000, f"={names.alice}", day=1), day=1),
    ]


@day(Right("40.00 0.00 0.00", "40.00"))
def two_equal_payments_in_one_statement(names: Names) -> Sequence[File]:
    same = _in(2_000, f"={names.alice}")
    return [_statement("S1", 0, same, same)]


@day(Right("40.00 0.00 0.00", "40.00"))
def two_equal_payments_of_which_one_was_notified(names: Names) -> Sequence[File]:
    same = _in(2_000, f"={names.alice}")
    return [_notification("N1", _undated(same)), _statement("S1", 0, same, same)]


@day(Right("40.00 0.00 0.00", "40.00"))
def two_equal_payments_notified_together(names: Names) -> Sequence[File]:
    same = _in(2_000, f"={names.alice}", ref="NONREF")
    return [_notification("N1", same, same), _statement("S1", 0, same, same)]


@day(Right("40.00 0.00 0.00", "40.00"))
def a_counter_that_starts_again(names: Names) -> Sequence[File]:
    first, second = (_in(2_000, f"={names.alice}", ref="1", day=each) for each in (0, 1))
    return [
        _notification("N1", first),
        _statement("S1", 0, first),
        _notification("N2", second),
        _statement("S2", 2_000, second, day=1),
    ]


@day(Right("20.00 30.00 0.00", "50.00"))
def one_reference_for_all_of_a_day(names: Names) -> Sequence[File]:
    alice, bob = _in(2_000, f"={names.alice}", ref="20260511"), _in(3_000, f"={names.bob}", ref="20260511")
    return [_notification("N1", alice), _notification("N2", bob), _statement("S1", 0, alice, bob)]


@day(Right("20.00 0.00 0.00", "20.00"))
def another_reference_in_each_message(names: Names) -> Sequence[File]:
    return [
        _notification("N1", _in(2_000, f"={names.alice}", ref="X1")),
        _statement("S1", 0, _in(2_000, f"={names.alice}", ref="Y1")),
    ]


@day(Right("20.00 0.00 0.00", "20.00"))
def a_notification_that_comes_twice_in_other_bytes(names: Names) -> Sequence[File]:
    told = _in(2_000, f"={names.alice}")
    return [
        _notification("N1", told),
        _notification("N1", told, message="ANOTHER"),
        _notification("N2", told),
        _statement("S1", 0, told),
    ]


@day(Right("20.00 0.00 0.00", "20.00"))
def a_statement_that_comes_twice_in_other_bytes(names: Names) -> Sequence[File]:
    told = _in(2_000, f"={names.alice}")
    return [_statement("S1", 0, told), _statement("S1", 0, told, message="ANOTHER"), _statement("S1-COPY", 0, told)]


# --- sums ------------------------------------------------------------------------------------------------------


@day(Right("20.00 30.00 0.00", "50.00"))
def a_sum_on_the_statement_and_its_details_in_a_notification(names: Names) -> Sequence[File]:
    details = _in(2_000, f"={names.alice}").details + _in(3_000, f"={names.bob}").details
    return [_statement("S1", 0, _sum(*details, ref="B1", bare=True)), _notification("N1", _sum(*details, ref="B1"))]


@day(Right("20.00 30.00 0.00", "50.00"))
def a_sum_on_the_statement_and_its_details_in_a_notification_without_references(names: Names) -> Sequence[File]:
    details = _in(2_000, f"={names.alice}").details + _in(3_000, f"={names.bob}").details
    return [_statement("S1", 0, _sum(*details, bare=True)), _notification("N1", _sum(*details))]


@day(Right("20.00 30.00 0.00", "50.00"))
def a_sum_in_a_notification_and_its_details_on_the_statement(names: Names) -> Sequence[File]:
    details = _in(2_000, f"={names.alice}").details + _in(3_000, f"={names.bob}").details
    return [_notification("N1", _sum(*details, ref="B1", bare=True)), _statement("S1", 0, _sum(*details, ref="B1"))]


@day(Right("20.00 30.00 0.00", "50.00"))
def a_sum_on_the_statement_of_payments_notified_one_by_one(names: Names) -> Sequence[File]:
    alice, bob = _in(2_000, f"={names.alice}", ref="R1"), _in(3_000, f"={names.bob}", ref="R2")
    details = alice.details + bob.details
    return [
        _notification("N1", alice),
        _notification("N2", bob),
        _statement("S1", 0, _sum(*details, ref="B1", bare=True)),
    ]


@day(Right("0.00 0.00 0.00", "-10.00", withdrawal="booked"))
def our_file_as_one_sum_notified_payment_by_payment(names: Names) -> Sequence[File]:
    whole = Entry(-1_000, camt.OUT, booked_on=_MONDAY, batch=(names.payment_information_id, 1))
    return [_notification("N1", _out(names.end_to_end_id, ref="P1")), _statement("S1", 0, whole)]


@day(Right("20.00 0.00 0.00", "20.00", breaks=("unknown_entry 30.00",)))
def a_sum_of_which_one_payment_names_nobody(names: Names) -> Sequence[File]:
    details = _in(2_000, f"={names.alice}").details + _in(3_000, "Danke").details
    return [_statement("S1", 0, _sum(*details, ref="B1"))]


# --- reversals, returns, fees ----------------------------------------------------------------------------------


@day(Right("0.00 0.00 10.00", "0.00", withdrawal="returned"))
def a_reversal_under_the_reference_of_what_it_undoes(names: Names) -> Sequence[File]:
    return [
        _statement("S1", 0, _out(names.end_to_end_id, ref="P1")),
        _statement("S2", -1_000, _out(names.end_to_end_id, ref="P1", back=True, reversal=True), day=1),
    ]


@day(Right("0.00 0.00 10.00", "0.00", withdrawal="returned"))
def a_payout_and_its_return_under_one_reference_in_one_statement(names: Names) -> Sequence[File]:
    left, back = _out(names.end_to_end_id, ref="P1"), _out(names.end_to_end_id, ref="P1", back=True, reason="AC04")
    return [_notification("N1", left), _notification("N2", back), _statement("S1", 0, left, back)]


@day(Right("0.00 0.00 10.00", "0.00", withdrawal="returned"))
def a_return_that_is_notified_before_what_came_back(names: Names) -> Sequence[File]:
    left, back = _out(names.end_to_end_id), _out(names.end_to_end_id, back=True, reason="AC04")
    return [_notification("N1", back), _statement("S1", 0, left, back)]


@day(Right("20.00 0.00 0.00", "20.00", breaks=("top_up_reversed -20.00",)))
def a_top_up_taken_back_under_its_reference(names: Names) -> Sequence[File]:
    arrived = _in(2_000, f"={names.alice}", ref="A")
    taken = replace(arrived, cents=-2_000, reversal=True, details=(replace(arrived.details[0], cents=-2_000),))
    return [_statement("S1", 0, arrived), _statement("S2", 2_000, taken, day=1)]


@day(Right("20.00 0.00 0.00", "20.00", breaks=("top_up_reversed -20.00",)))
def a_top_up_taken_back_with_its_own_sign(names: Names) -> Sequence[File]:
    arrived = _in(2_000, f"={names.alice}", ref="A")
    return [_statement("S1", 0, arrived, replace(arrived, reversal=True), moved=0)]


@day(Right("0.00 0.00 0.00", "-10.20", withdrawal="booked", fees="0.20"))
def a_fee_with_the_end_to_end_id_of_our_payment(names: Names) -> Sequence[File]:
    fee = _fee(20, ref="P1", details=(Detail(-20, end_to_end_id=names.end_to_end_id),))
    return [_statement("S1", 0, _out(names.end_to_end_id, ref="P1"), fee)]


@day(Right("20.00 0.00 0.00", "19.50", fees="0.50"))
def a_fee_that_repeats_the_words_of_the_payment(names: Names) -> Sequence[File]:
    arrived = _in(2_000, f"={names.alice}", ref="A")
    fee = _fee(50, ref="A", details=(replace(arrived.details[0], cents=-50),))
    return [_notification("N1", arrived), _notification("N2", fee), _statement("S1", 0, arrived, fee)]


@day(Right("20.00 0.00 0.00", "19.65", fees="0.35"))
def an_entry_net_of_its_charges(names: Names) -> Sequence[File]:
    net = replace(_in(2_000, f"={names.alice}", ref="A"), cents=1_965, charges=35)
    return [_notification("N1", net), _statement("S1", 0, net)]


# --- words -----------------------------------------------------------------------------------------------------


def _spaced(reference: str) -> str:
    return " ".join(reference[start : start + 4] for start in range(0, len(reference), 4))


_TYPED: dict[str, Callable[[Names], tuple[str, ...]]] = {
    "with_spaces": lambda names: (_spaced(names.alice),),
    "in_lower_case": lambda names: (names.alice.lower(),),
    "behind_a_prefix": lambda names: (f"SVWZ+Obole {names.alice}",),
    "behind_a_prefix_without_a_space": lambda names: (f"Ref:{names.alice}.",),
    "cut_over_two_lines": lambda names: (f"Aufladung {names.alice[:11]}", f"{names.alice[11:]} Danke"),
    "structured_with_spaces": lambda names: (f"={_spaced(names.alice.lower())}",),
    "twice": lambda names: (f"={names.alice}", f"Top-up {names.alice}"),
    "with_dashes": lambda names: ("-".join(_spaced(names.alice).split()),),
}


def _typed(name: str, words: Callable[[Names], tuple[str, ...]]) -> None:
    def files(names: Names) -> Sequence[File]:
        told = _in(2_000, *words(names))
        return [_notification("N1", told), _statement("S1", 0, told)]

    DAYS.append(Day(f"a_reference_{name}", files, Right("20.00 0.00 0.00", "20.00")))


for _name, _how in _TYPED.items():
    _typed(_name, _how)


@day(Right("20.00 0.00 0.00", "20.00"))
def a_reference_in_the_end_to_end_id(names: Names) -> Sequence[File]:
    detail = Detail(2_000, end_to_end_id=names.alice, party="Erika Exempel")
    return [_statement("S1", 0, replace(_in(2_000), details=(detail,)))]


@day(Right("0.00 0.00 0.00", "0.00", breaks=("several_references 50.00",)))
def one_payment_that_names_two_shoppers(names: Names) -> Sequence[File]:
    told = _in(5_000, f"={names.alice}", f"={names.bob}", ref="A")
    return [_notification("N1", told), _statement("S1", 0, told)]


@day(Right("35.00 0.00 0.00", "35.00"))
def one_payment_that_names_two_top_ups_of_one_purse(names: Names) -> Sequence[File]:
    return [_statement("S1", 0, _in(3_500, f"{names.alice} {names.alice_too}", ref="A"))]


@day(Right("20.00 30.00 0.00", "50.00", breaks=("several_references 0.01", "unknown_entry -0.01")))
def what_comes_after_a_payment_that_names_two_shoppers(names: Names) -> Sequence[File]:
    """It stops nothing: neither its own file nor the next."""
    two = _in(1, names.alice, names.bob)
    paid_back = replace(two, cents=-1, details=(Detail(-1, lines=("Irrläufer",)),), code=camt.OUT)
    return [
        _statement("S1", 0, two, _in(2_000, f"={names.alice}")),
        _statement("S2", 2_001, _in(3_000, f"={names.bob}", day=1), paid_back, day=1),
    ]


@day(Right("20.00 0.00 0.00", "20.00"))
def a_shorter_statement_without_the_words_and_a_longer_one_with_them(names: Names) -> Sequence[File]:
    full = _in(2_000, f"={names.alice}", ref="A")
    bare = replace(full, details=())
    return [_statement("S1", 0, bare, hour=12), _statement("S1", 0, full)]


# --- statements ------------------------------------------------------------------------------------------------


@day(Right("20.00 30.00 0.00", "50.00"))
def pages_under_one_id(names: Names) -> Sequence[File]:
    first = (Balance("OPBD", 0, _MONDAY), Balance("CLBD", 2_000, _MONDAY, interim=True))
    second = (Balance("OPBD", 2_000, _MONDAY, interim=True), Balance("CLBD", 5_000, _MONDAY))
    return [
        _statement("S1", 0, _in(2_000, f"={names.alice}"), page=(1, False), balances=first),
        _statement("S1", 0, _in(3_000, f"={names.bob}"), page=(2, True), balances=second),
    ]


@day(Right("20.00 30.00 0.00", "50.00"))
def pages_without_balances_between_them(names: Names) -> Sequence[File]:
    return [
        _statement("S1", 0, _in(2_000, f"={names.alice}"), page=(1, False), balances=(Balance("OPBD", 0, _MONDAY),)),
        _statement("S1", 0, _in(3_000, f"={names.bob}"), page=(2, True), balances=(Balance("CLBD", 5_000, _MONDAY),)),
    ]


@day(Right("20.00 30.00 0.00", "50.00", breaks=("unknown_entry -5.00", "unknown_entry 5.00")))
def a_day_told_three_times_longer_each_time(names: Names) -> Sequence[File]:
    alice, bob, fee = _in(2_000, f"={names.alice}"), _in(3_000, f"={names.bob}"), _in(500, "Danke")
    back = replace(fee, cents=-500, code=camt.OUT, details=(Detail(-500, lines=("Zurück",)),))
    return [
        _statement("S1", 0, alice, hour=10),
        _statement("S1", 0, alice, bob, hour=12),
        _statement("S2", 0, alice, bob, fee, back),
    ]


@day(Right("40.00 0.00 0.00", "30.00", withdrawal="booked", breaks=("unknown_entry -10.00",)))
def a_day_that_begins_where_the_day_before_began(names: Names) -> Sequence[File]:
    """What came in on the first day left on it; the second has the same payment, and is another day all the same."""
    other = Entry(-1_000, camt.OUT, booked_on=_MONDAY, valued_on=_MONDAY, details=(Detail(-1_000, lines=("Miete",)),))
    first = (_in(2_000, f"={names.alice}"), _out(names.end_to_end_id), other)
    second = _in(2_000, f"={names.alice}", day=1)
    return [_statement("S1", 0, *first), _statement("S2", 0, second, day=1)]


@day(Right("35.00 30.00 0.00", "65.00"))
def days_out_of_order(names: Names) -> Sequence[File]:
    return [
        _statement("S3", 5_000, _in(1_500, f"={names.alice_too}", day=2), day=2),
        _statement("S1", 0, _in(2_000, f"={names.alice}")),
        _statement("S2", 2_000, _in(3_000, f"={names.bob}", day=1), day=1),
    ]


@day(Right("35.00 30.00 0.00", "65.00"))
def days_out_of_order_with_closing_balances_alone(names: Names) -> Sequence[File]:
    return [
        _statement("S2", None, _in(3_000, f"={names.bob}", day=1), day=1, moved=5_000),
        _statement("S3", None, _in(1_500, f"={names.alice_too}", day=2), day=2, moved=6_500),
        _statement("S1", None, _in(2_000, f"={names.alice}")),
    ]


@day(Right("20.00 0.00 0.00", "20.00"))
def a_payment_that_was_pending_before(names: Names) -> Sequence[File]:
    booked = _in(2_000, f"={names.alice}", ref="A")
    return [
        _notification("N1", replace(booked, status="PDNG", booked_on=None)),
        _statement("S1", 0, booked),
    ]


@day(Right("20.00 0.00 0.00", "20.00"))
def a_notification_that_comes_after_the_statement(names: Names) -> Sequence[File]:
    told = _in(2_000, f"={names.alice}")
    return [_statement("S1", 0, told), _statement("S2", 2_000, day=1), _notification("N1", _undated(told))]


@day(Right("0.00 30.00 0.00", "30.00"))
def a_payment_to_another_account_in_the_same_file(names: Names) -> Sequence[File]:
    """It names a reference of ours, and is not our money."""
    reports = [
        _report("S9", 0, [_in(2_000, f"={names.alice}")], iban=_OTHER_IBAN),
        _report("S1", 0, [_in(3_000, f"={names.bob}")]),
    ]
    return [("1.camt053.xml", camt.write("camt.053", _PLAIN, "M1", reports))]


@day(Right("20.00 0.00 0.00", "20.00", refused=(0,)))
def a_file_about_another_account_alone(names: Names) -> Sequence[File]:
    return [
        _statement("S9", 0, _in(3_000, f"={names.bob}"), iban=_OTHER_IBAN),
        _statement("S1", 0, _in(2_000, f"={names.alice}")),
    ]


# --- files -----------------------------------------------------------------------------------------------------


def _encoded(form: Form) -> None:
    def files(names: Names) -> Sequence[File]:
        told = _in(2_000, f"={names.alice}", "Jörg Ångström")
        return [_notification("N1", told, form=form), _statement("S1", 0, told, form=form)]

    name = f"{form.encoding.replace('-', '_').lower()}_version_{form.version:02}_{form.namespace[:3].lower()}"
    DAYS.append(Day(name, files, Right("20.00 0.00 0.00", "20.00")))


for _form in FORMS:
    _encoded(_form)


@day(Right("20.00 30.00 0.00", "50.00"))
def a_zip_with_two_statements(names: Names) -> Sequence[File]:
    return [
        _zip(
            "1.zip",
            _statement("S2", 2_000, _in(3_000, f"={names.bob}", day=1), day=1),
            _statement("S1", 0, _in(2_000, f"={names.alice}")),
            ("__MACOSX/._S1.camt053.xml", b"\0\5\26\7"),
        )
    ]


@day(Right("20.00 0.00 0.00", "20.00", refused=(0,)))
def nonsense_and_then_a_statement(names: Names) -> Sequence[File]:
    return [("0.xml", b"<html><body>502 Bad Gateway</body></html>"), _statement("S1", 0, _in(2_000, f"={names.alice}"))]


@day(Right("20.00 0.00 0.00", "20.00", left=(0, 1, 2, 3)), reversible=False)
def files_that_are_still_being_written(names: Names) -> Sequence[File]:
    name, whole = _statement("S1", 0, _in(2_000, f"={names.alice}"))
    half = whole[: len(whole) // 2]
    unfinished = [(f"{name}{end}", half) for end in (".part", ".tmp", ".filepart")]
    return [*unfinished, (f".{name}", half), (name, whole)]


# --- what the dialects found -----------------------------------------------------------------------------------


@day(Right("20.00 0.00 10.00", "20.00", withdrawal="returned"))
def a_reversal_in_a_statement_with_a_closing_balance_alone_that_comes_again(names: Names) -> Sequence[File]:
    """Told again, it would add up from its own end if the reversal were turned round."""
    undone = (_out(names.end_to_end_id, ref="P2", back=True, reversal=True), _in(2_000, f"={names.alice}", ref="A"))
    return [
        _statement("S1", None, _out(names.end_to_end_id, ref="P1"), moved=-1_000),
        _statement("S2", None, *undone, day=1, moved=2_000),
        _statement("S2", None, *undone, day=1, moved=2_000, message="ANOTHER"),
    ]


@day(Right("20.00 0.00 0.00", "10.00", withdrawal="booked", breaks=("top_up_reversed -20.00", "unknown_entry -10.00")))
def a_page_with_a_reversal_that_comes_after_the_next_page(names: Names) -> Sequence[File]:
    """It would add up from the end of the page after it if the reversal were turned round."""
    arrived = _in(2_000, f"={names.alice}", ref="A")
    taken = replace(arrived, cents=-2_000, reversal=True, details=(replace(arrived.details[0], cents=-2_000),))
    out = _out(names.end_to_end_id, ref="P1")
    further = replace(out, cents=-1_000, details=(Detail(-1_000, lines=("Miete",)),))
    tuesday = _date(1)
    first = (Balance("CLBD", 0, tuesday, interim=True),)
    second = (Balance("OPBD", 0, tuesday, interim=True), Balance("CLBD", -2_000, tuesday))
    return [
        _statement("S1", None, arrived),
        _statement("S2", None, out, further, day=1, page=(2, True), balances=second),
        _statement("S2", None, taken, day=1, page=(1, False), balances=first),
    ]


@day(Right("0.00 0.00 10.00", "0.00", withdrawal="returned", breaks=("unknown_entry 10.00",)))
def two_notifications_of_one_day_of_which_neither_names_a_payer(names: Names) -> Sequence[File]:
    """One sum, one day, and two references of the bank: money that came back is not money from a stranger."""
    stranger, back = _in(1_000, "Danke", ref="R1"), _out(names.end_to_end_id, ref="R7", back=True, reversal=True)
    left = _out(names.end_to_end_id, ref="R2")
    return [_notification("N1", stranger), _notification("N2", back), _statement("S1", 0, stranger, left, back)]


@day(Right("20.00 0.00 0.00", "20.00", breaks=("unknown_entry 20.00",)))
def two_payments_of_one_payer_of_which_one_names_nobody(names: Names) -> Sequence[File]:
    with_words, without = _in(2_000, f"={names.alice}", ref="R1"), _in(2_000, "Danke", ref="R2")
    return [_notification("N1", without), _notification("N2", with_words), _statement("S1", 0, without, with_words)]


@day(Right("20.00 30.00 0.00", "50.00"))
def pages_of_a_message_as_version_02_counts_them(names: Names) -> Sequence[File]:
    first, last = (Balance("OPBD", 0, _MONDAY),), (Balance("CLBD", 5_000, _MONDAY),)
    alice, bob = _in(2_000, f"={names.alice}"), _in(3_000, f"={names.bob}")
    return [
        _statement("S1", 0, alice, page=(1, False), balances=first, form=FORMS[1]),
        _statement("S1", 0, bob, page=(2, True), balances=last, form=FORMS[1]),
        _statement("S2", 5_000, day=1, form=FORMS[1]),
    ]


@day(Right("20.00 30.00 0.00", "50.00"))
def a_page_that_is_sent_again_later(names: Names) -> Sequence[File]:
    first = (Balance("OPBD", 0, _MONDAY), Balance("CLBD", 2_000, _MONDAY, interim=True))
    second = (Balance("OPBD", 2_000, _MONDAY, interim=True), Balance("CLBD", 5_000, _MONDAY))
    page = _in(2_000, f"={names.alice}")
    return [
        _statement("S1", 0, page, page=(1, False), balances=first, hour=22, message="ANOTHER"),
        _statement("S1", 0, _in(3_000, f"={names.bob}"), page=(2, True), balances=second),
        _statement("S1", 0, page, page=(1, False), balances=first),
    ]


@day(Right("40.00 0.00 0.00", "40.00"))
def undated_notifications_that_come_after_their_statements(names: Names) -> Sequence[File]:
    monday, tuesday = (_in(2_000, f"={names.alice}", ref=f"R{each}", day=each) for each in (0, 1))
    return [
        _notification("N1", _undated(monday)),
        _statement("S2", 2_000, tuesday, day=1),
        _statement("S1", 0, monday),
        _notification("N2", _undated(tuesday)),
        _notification("N1", _undated(monday), message="ANOTHER"),
        _notification("N2", _undated(tuesday), message="YET-ANOTHER"),
    ]


@day(Right("20.00 30.00 0.00", "50.00", breaks=("unknown_entry 50.00",)))
def a_payment_from_a_stranger_that_happens_to_be_as_much_as_two_others(names: Names) -> Sequence[File]:
    """It has a payer and words of its own: it is no sum of what was notified for the next day."""
    alice, bob = _in(2_000, f"={names.alice}", ref="R1", day=1), _in(3_000, f"={names.bob}", ref="R2", day=1)
    return [
        _notification("N1", alice, bob),
        _statement("S1", 0, _in(5_000, "Danke", ref="R0")),
        _statement("S2", 5_000, alice, bob, day=1),
    ]


@day(Right("20.00 30.00 0.00", "50.00", breaks=("unknown_entry 50.00",)))
def a_payment_from_a_stranger_notified_beside_two_others(names: Names) -> Sequence[File]:
    alice, bob = _in(2_000, f"={names.alice}", ref="R1"), _in(3_000, f"={names.bob}", ref="R2")
    stranger = _in(5_000, "Danke", ref="R0")
    return [_notification("N1", stranger), _notification("N2", alice, bob), _statement("S1", 0, alice, bob, stranger)]
