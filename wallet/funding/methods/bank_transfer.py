"""By bank transfer: the shopper sends it, under the reference that says whose it is, and fills it in from a QR code.

Invariant: the code says what the page says, to the cent (EPC069-12).
"""

from dataclasses import dataclass

import segno

from wallet.ground.money import Money
from wallet.settings import Settings

# The largest amount of a SEPA credit transfer, and so of its QR code (EPC069-12 section 2).
_LARGEST_EPC_MICROS = 999_999_999_990_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A transfer to this wallet's account, for its shopper to send."""

    amount: Money
    name: str
    iban: str
    bic: str | None
    reference: str

    @property
    def epc(self) -> str | None:
        """The text of the QR code that fills in a SEPA transfer form (EPC069-12 version 002): UTF-8, eleven lines.

        None where there is no such code: other money than euro, or more than a bank moves.
        """
        if self.amount.currency != "EUR" or self.amount.micros > _LARGEST_EPC_MICROS:
            return None
        head = ["BCD", "002", "1", "SCT", self.bic or ""]
        return "\n".join([*head, self.name, self.iban, f"EUR{self.amount}", "", self.reference])

    @property
    def qr_svg(self) -> str | None:
        """That code (EPC069-12 section 3: error correction M, at most version 13, byte mode), as SVG."""
        if self.epc is None:
            return None
        code = segno.make_qr(self.epc, error="m", boost_error=False, encoding="utf-8", mode="byte")
        return code.svg_inline(omitsize=True)


def is_available(settings: Settings) -> bool:
    """Whether there is an account to send it to."""
    return settings.bank_iban is not None


def transfer(settings: Settings, amount: Money, reference: str) -> Transfer | None:
    """What the shopper sends."""
    if settings.bank_iban is None:
        return None
    return Transfer(
        amount=amount,
        name=settings.operator_name,
        iban=settings.bank_iban,
        bic=settings.bank_bic,
        reference=reference,
    )
