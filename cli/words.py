"""How commands say yes and no, and what they note of who was at the terminal.

Invariant: exit status 0 only when all is well; what is wrong is said on standard error with its code; ``--json``
says everything on standard output as one JSON document, for programs.
"""

import datetime as dt
import functools
import json
import os
import pwd
from collections.abc import Callable
from typing import Any

import click
from sqlalchemy.engine import Connection

from wallet.ground.db import begin_deed, end_deed, machine_failed
from wallet.ground.errors import OboleError
from wallet.people import actions

DATE = click.DateTime(["%Y-%m-%d"])
_LONGEST_ACCOUNT = 200
JSON = click.option("--json", "as_json", is_flag=True, help="Say it as one JSON document.")


def says_no(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose refusals are said in our words, with their code, and end it with status 1."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        begin_deed()
        try:
            command(*args, **options)
        except OboleError as refusal:
            raise click.ClickException(f"{refusal.detail} [{refusal.code}]") from None
        except OSError as error:
            refused = machine_failed(error)
            raise click.ClickException(f"{refused.detail} {error.strerror or ''} [{refused.code}]") from error
        finally:
            end_deed()

    return run


def note_action(conn: Connection, action: str, subject: object, detail: str, at: dt.datetime) -> None:
    """Log what was done, as done by whoever is at the terminal."""
    actions.record(conn, who=_who(), identity_id=None, action=action, subject=str(subject), detail=detail, at=at)


def _who() -> str:
    """Who is at the terminal, as far as the machine knows. Of an operator who is named there, nobody has a proof."""
    account, by = os.getuid(), os.environ.get("SUDO_USER", "")
    try:
        name = pwd.getpwuid(account).pw_name
    except KeyError:
        name = str(account)
    said = f"{name} by sudo of {by}" if by else name
    return f"command line ({said[:_LONGEST_ACCOUNT]})"


def say(as_json: bool, **facts: Any) -> None:
    """Say facts: a line each, or all of them as one JSON document."""
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):>22}  {words(value)}")


def words(value: Any) -> str:
    """A fact in words."""
    if isinstance(value, dict):
        return " ".join(f"{name} {words(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(words(each) for each in value) or "none"
    return "-" if value is None else str(value)


def date_of(moment: dt.datetime | None) -> dt.date | None:
    """The date that was typed, if one was."""
    return None if moment is None else moment.date()
