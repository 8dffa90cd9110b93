"""What commands print, and how they end."""

import json
import os
import pwd
from typing import Any

from tests.support import Shop

# Whose account the machine runs the tests under.
ACCOUNT = pwd.getpwuid(os.getuid()).pw_name


def flask(shop: Shop, *command: str, status: int = 0) -> str:
    """What ``flask …`` prints; fails unless it exits with ``status``."""
    done = shop.app.test_cli_runner().invoke(args=list(command))
    assert done.exit_code == status, (done.output, done.exception)
    return done.stdout if status == 0 else done.output


def said(shop: Shop, *command: str, status: int = 0) -> Any:
    """The JSON that ``flask … --json`` prints."""
    return json.loads(flask(shop, *command, "--json", status=status).splitlines()[-1])


def sold(shop: Shop, amount: str = "0.50") -> Any:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.redeem(merchant, shop.voucher(purse, merchant, amount))
    return merchant
