"""Payout rows -> bytes of a ``pain.001.001.09``, the credit transfers we ask the bank to make.

Invariant: `render` is pure. The same arguments give the same bytes, on any machine and day; ids and times are
arguments. What it returns is valid against the ISO 20022 schema, its sums are the sums of its instructions,
and it names every instruction once; what cannot be said so is refused as a whole.

Rules: EPC132-08 (SCT customer-to-PSP guidelines, pain.001.001.09), EPC217-08 (character set), ISO 11649 (RF).
"""

import datetime as dt
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lxml import etree
from schwifty import IBAN
from schwifty.exceptions import SchwiftyException
from stdnum import iso11649

from wallet.ground.clock import rfc3339
from wallet.ground.errors import AmountInvalid, AmountNotWholeMinor, BankMessageInvalid, IbanInvalid
from wallet.ground.money import EXPONENTS, MICROS_PER_UNIT, is_whole_minor, largest_transaction

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"

_NAME_LENGTH = 70  # EPC132-08: names have 70 characters, where the schema allows 140
# EPC132-08, Character Set: ids are Latin, without a space, no slash at either end, nor two in a row.
_ID = re.compile(r"(?!/)(?!.*//)[A-Za-z0-9/\-?:().,'+]{1,35}(?<!/)", re.ASCII)
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)  # ISO 9362, as in the schema
_RF = re.compile(r"RF[0-9]{2}[A-Z0-9]{1,21}", re.ASCII)
_NOT_LATIN = re.compile(r"[^A-Za-z0-9/\-?:().,'+ ]", re.ASCII)


def _pairs(letters: str, latin: str) -> dict[str, str]:
    return dict(zip(letters, latin.split(), strict=True))


# After the conversion table of EPC217-08; lower case stands for both. What has an accent is not listed:
# Unicode takes it off. What is nowhere becomes a full stop.
_LATIN = {
    **_pairs("&_~`\\|€@[]{}’‘–—−\u201a\u2044", "+ - - ' / / E (at) ( ) ( ) ' ' - - - ' /"),
    **_pairs("æœßøłđðþħŧŋĸ\u0131", "ae oe ss o l d d th h t n k i"),
    **_pairs("ÆŒẞ", "AE OE SS"),
    **_pairs("αβγδεζηθικλμνξοπρσςτυφχψω", "a v g d e z i th i k l m n x o p r s s t y f ch ps o"),
    **_pairs("абвгдежзийклмнопрстуф", "a b v g d e zh z i y k l m n o p r s t u f"),
    **_pairs("хцчшщъыьэюя", "h ts ch sh sht a y y e yu ya"),
    **_pairs("єіјђљњћџѕ", "ye i j dj lj nj c dz dz"),
}


@dataclass(frozen=True, slots=True)
class Debtor:
    """Who pays: the operator's account that the payouts leave."""

    name: str
    iban: str
    bic: str | None


@dataclass(frozen=True, slots=True)
class Instruction:
    """One credit transfer. ``reference`` is an ISO 11649 creditor reference (``RF…``), without spaces."""

    end_to_end_id: str
    amount_micros: int
    creditor_name: str
    creditor_iban: str
    creditor_bic: str | None
    reference: str


@dataclass(frozen=True, slots=True)
class Message:
    """What the instructions of one file share. ``created_at`` has an offset and is printed in UTC."""

    message_id: str
    payment_information_id: str
    created_at: dt.datetime
    execution_date: dt.date
    currency: str
    debtor: Debtor
    batch_booking: bool


def render(message: Message, instructions: Sequence[Instruction]) -> bytes:
    """The file, in UTF-8, valid against pain.001.001.09.

    Names are printed as `sepa_text`; IBANs without spaces. No postal address: EPC132-08 no longer takes
    unstructured ones, and none is needed. Euro is sent as a SEPA credit transfer (``SEPA``, ``SLEV``); any
    other currency names no service level and shares the charges (``SHAR``).

    Raises `AmountInvalid` (≤ 0 or too large), `AmountNotWholeMinor`, `CurrencyUnknown`, `IbanInvalid`, or
    `BankMessageInvalid` for an id, reference, BIC or name that cannot be sent, two equal EndToEndIds, or no
    instruction.
    """
    if not instructions:
        raise BankMessageInvalid("A bank file has at least one instruction.")
    if len({instruction.end_to_end_id for instruction in instructions}) != len(instructions):
        raise BankMessageInvalid("Two instructions have the same EndToEndId.")
    if message.created_at.tzinfo is None:
        raise BankMessageInvalid("The creation time has no offset.")
    is_sepa = message.currency == "EUR"
    debtor_name = sepa_text(message.debtor.name, _NAME_LENGTH)
    amounts = [_bank_amount(instruction.amount_micros, message.currency) for instruction in instructions]
    count = str(len(instructions))
    control_sum = _decimal(sum(instruction.amount_micros for instruction in instructions), message.currency)

    document = etree.Element(f"{{{NAMESPACE}}}Document", nsmap={None: NAMESPACE})  # type: ignore[dict-item]  # lxml-stubs omit None
    initiation = _add(document, "CstmrCdtTrfInitn")
    header = _add(initiation, "GrpHdr")
    _add(header, "MsgId", _id(message.message_id))
    _add(header, "CreDtTm", rfc3339(message.created_at.replace(microsecond=0)))
    _add(header, "NbOfTxs", count)
    _add(header, "CtrlSum", control_sum)
    _add(header, "InitgPty/Nm", debtor_name)
    payment = _add(initiation, "PmtInf")
    _add(payment, "PmtInfId", _id(message.payment_information_id))
    _add(payment, "PmtMtd", "TRF")
    _add(payment, "BtchBookg", "true" if message.batch_booking else "false")
    _add(payment, "NbOfTxs", count)
    _add(payment, "CtrlSum", control_sum)
    if is_sepa:
        _add(payment, "PmtTpInf/SvcLvl/Cd", "SEPA")
    _add(payment, "ReqdExctnDt/Dt", message.execution_date.isoformat())
    _add(payment, "Dbtr/Nm", debtor_name)
    _add(payment, "DbtrAcct/Id/IBAN", _iban(message.debtor.iban))
    if message.debtor.bic is None:
        _add(payment, "DbtrAgt/FinInstnId/Othr/Id", "NOTPROVIDED")  # EPC132-08: IBAN only
    else:
        _add(payment, "DbtrAgt/FinInstnId/BICFI", _bic(message.debtor.bic))
    _add(payment, "ChrgBr", "SLEV" if is_sepa else "SHAR")
    for instruction, amount in zip(instructions, amounts, strict=True):
        transfer = _add(payment, "CdtTrfTxInf")
        _add(transfer, "PmtId/EndToEndId", _id(instruction.end_to_end_id))
        _add(transfer, "Amt/InstdAmt", amount).set("Ccy", message.currency)
        if instruction.creditor_bic is not None:
            _add(transfer, "CdtrAgt/FinInstnId/BICFI", _bic(instruction.creditor_bic))
        _add(transfer, "Cdtr/Nm", sepa_text(instruction.creditor_name, _NAME_LENGTH))
        _add(transfer, "CdtrAcct/Id/IBAN", _iban(instruction.creditor_iban))
        reference = _add(transfer, "RmtInf/Strd/CdtrRefInf")
        kind = _add(reference, "Tp")
        _add(kind, "CdOrPrtry/Cd", "SCOR")
        _add(kind, "Issr", "ISO")
        _add(reference, "Ref", _rf(instruction.reference))
    return etree.tostring(document, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def sepa_text(text: str, max_length: int) -> str:
    """``text`` in the SEPA character set (EPC217-08): transliterated, single spaces, ``max_length`` at most.

    No slash at either end and no two in a row (EPC132-08, Character Set). Raises `BankMessageInvalid` when
    nothing is left.
    """
    latin = _NOT_LATIN.sub(lambda match: _latin(match.group()), unicodedata.normalize("NFC", text))
    latin = re.sub("/+", "/", re.sub(" +", " ", latin)).strip(" /")[:max_length].rstrip(" /")
    if not latin:
        raise BankMessageInvalid("A text for the bank is empty.")
    return latin


# --- private -----------------------------------------------------------------------------------------------


def _add(parent: etree._Element, path: str, text: str | None = None) -> etree._Element:
    """Append the elements of ``path`` one in the other and return the innermost."""
    for step in path.split("/"):
        parent = etree.SubElement(parent, f"{{{NAMESPACE}}}{step}")
    parent.text = text
    return parent


def _bank_amount(micros: int, currency: str) -> str:
    if not 0 < micros <= largest_transaction(currency):
        raise AmountInvalid("A bank moves amounts above zero, with at most nine digits before the point.")
    if not is_whole_minor(micros, currency):
        raise AmountNotWholeMinor
    return _decimal(micros, currency)


def _decimal(micros: int, currency: str) -> str:
    """Whole minor units, printed with the currency's decimals. A sum may exceed what one of them is."""
    units, rest = divmod(micros, MICROS_PER_UNIT)
    decimals = EXPONENTS[currency]
    return f"{units}.{rest:06d}"[: decimals - 6] if decimals else str(units)


def _id(value: str) -> str:
    if _ID.fullmatch(value) is None:
        raise BankMessageInvalid(f"{value!r} is not an id that banks take.")
    return value


def _iban(value: str) -> str:
    try:
        return str(IBAN(value).compact)
    except SchwiftyException:
        raise IbanInvalid(f"{value!r} is not a valid IBAN.") from None


def _bic(value: str) -> str:
    if _BIC.fullmatch(value) is None:
        raise BankMessageInvalid(f"{value!r} is not a BIC.")
    return value


def _rf(value: str) -> str:
    if _RF.fullmatch(value) is None or not iso11649.is_valid(value):
        raise BankMessageInvalid(f"{value!r} is not an ISO 11649 creditor reference.")
    return value


@lru_cache(maxsize=4096)
def _latin(character: str) -> str:
    if _NOT_LATIN.match(character) is None:
        return character
    if character.isspace():
        return " "
    if character in _LATIN:
        return _LATIN[character]
    if character.lower() in _LATIN:
        return _LATIN[character.lower()].capitalize()
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):  # accents, joiners, byte order marks
        return ""
    parts = unicodedata.normalize("NFKD", character)
    return "." if parts == character else "".join(map(_latin, parts))
