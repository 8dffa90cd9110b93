"""IBANs, checked as a bank would."""

import schwifty
from schwifty.exceptions import SchwiftyException

from wallet.ground.errors import IbanInvalid


def valid_iban(text: str, *, currency: str | None = None) -> str:
    """The IBAN in its electronic form (ISO 13616), check digits and country format verified; or `IbanInvalid`.

    One that is to be paid in euro must be in the SEPA zone: anywhere else, the bank would refuse its whole file.
    """
    try:
        iban = schwifty.IBAN(text)
    except (SchwiftyException, ValueError) as error:
        raise IbanInvalid(f"That is not a valid IBAN: {error}.") from None
    if currency == "EUR" and not iban.in_sepa_zone:
        raise IbanInvalid("Euro can be sent only to accounts in the SEPA zone.")
    return str(iban.compact)
