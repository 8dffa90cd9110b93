"""Ways to top up: there as the wallet is set up, and nowhere else."""

from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader

from tests.support import make_settings
from wallet.funding import methods
from wallet.ground.errors import TopUpMethodUnavailable
from wallet.tables.funding import TopUpMethod
from web.pages.page import STATIC

TRANSFER, SANDBOX = TopUpMethod.BANK_TRANSFER, TopUpMethod.SANDBOX


@pytest.mark.parametrize(
    ("changes", "available", "fetching"),
    [
        ({}, [TRANSFER, SANDBOX], [SANDBOX]),
        ({"sandbox_folder": None}, [TRANSFER], []),
        ({"bank_iban": None}, [SANDBOX], [SANDBOX]),
        ({"bank_iban": None, "sandbox_folder": None}, [], []),
    ],
)
def test_a_way_is_there_where_the_wallet_is_set_up_for_it_and_only_the_sandbox_fetches_by_itself(
    changes: dict[str, None], available: list[TopUpMethod], fetching: list[TopUpMethod], tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, "sqlite:///unused.db", **changes)
    assert list(methods.available(settings)) == available
    assert list(methods.fetching(settings)) == fetching
    for name in ("magic", *TopUpMethod):
        if name in available:
            assert methods.require(name, settings) is TopUpMethod(name)
        else:
            with pytest.raises(TopUpMethodUnavailable):
                methods.require(name, settings)


def test_each_way_says_in_one_template_what_its_buttons_say_and_what_comes_after_them(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "sqlite:///unused.db")
    pages = Environment(loader=FileSystemLoader(STATIC.with_name("templates")), autoescape=True)
    pages.globals["_"] = pages.filters["money"] = str
    for name in methods.available(settings):
        said = pages.get_template(f"top_ups/{name}.html").module
        wanted = {"by_hand", "announced", "announced_at_checkout"} | (
            {"by_itself"} if name in methods.fetching(settings) else set()
        )
        assert wanted <= {word for word in dir(said) if not word.startswith("_")}
