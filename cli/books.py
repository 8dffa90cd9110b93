"""The database and its books: migrate, audit."""

import json
from collections.abc import Sequence
from typing import Any

import click
from flask.cli import with_appcontext
from rich.console import Console
from rich.table import Table

from cli.words import JSON, says_no
from settlement.audit.checks import Check
from settlement.audit.checks import audit as audit_books
from wallet.books import ledger
from wallet.ground import clock
from wallet.ground.db import migrate
from web.http.context import current


@click.command("audit")
@JSON
@with_appcontext
@says_no
def audit_command(as_json: bool) -> None:
    """Recompute the books from their rows, and name those that contradict. Status 1 if anything does not add up."""
    checks = audit_books(current().database, at=clock.now())
    if as_json:
        click.echo(json.dumps([plain(check) for check in checks]))
    else:
        show_audit(checks)
    if not all(check.ok for check in checks):
        raise click.exceptions.Exit(1)


@click.command("migrate")
@with_appcontext
@says_no
def migrate_command() -> None:
    """Bring the database to this version's schema, and open the books if they never were."""
    database = current().database
    migrate(database)
    with database.write() as conn:
        ledger.open_first_day(conn, clock.today(), opened_at=clock.now())


def show_audit(checks: list[Check]) -> None:
    table = Table("", "check", "figures", show_lines=False, box=None)
    for check in checks:
        figures = ", ".join(f"{name} {value}" for name, value in check.figures.items())
        table.add_row("ok" if check.ok else "WRONG", check.name, f"{figures} {check.currency or ''}".strip())
    Console(soft_wrap=True).print(table)
    show_findings(checks)


def show_findings(checks: Sequence[Check], *, on_error: bool = False) -> None:
    for check in checks:
        if not check.ok:
            click.echo(f"WRONG  {check.name}", err=on_error)
        for finding in check.findings:
            click.echo(f"       {finding.subject}: {finding.detail}", err=on_error)


def plain(check: Check) -> dict[str, Any]:
    rows = [{"subject": finding.subject, "detail": finding.detail} for finding in check.findings]
    return {
        "name": check.name,
        "ok": check.ok,
        "currency": check.currency,
        "figures": check.figures,
        "findings": rows,
    }
