"""IBANs: check digits, countries, the electronic form."""

import pytest

from wallet.ground.errors import IbanInvalid
from wallet.ground.iban import valid_iban

BAD_IBANS = ["", "DE00370400440532013000", "DE8937040044053201300", "XX89370400440532013000", "0", "DE", "é" * 22]


@pytest.mark.parametrize("iban", BAD_IBANS)
def test_an_iban_that_no_bank_takes_is_refused(iban):
    with pytest.raises(IbanInvalid):
        valid_iban(iban)


@pytest.mark.parametrize(
    ("written", "electronic"),
    [("GB29 NWBK 6016 1331 9268 19", "GB29NWBK60161331926819"), ("fr7630006000011234567890189",) * 2],
)
def test_an_iban_is_kept_in_its_electronic_form(written, electronic):
    assert valid_iban(written) == electronic.upper()
