"""The command line: what operators do at a terminal or from cron, over the same verbs as the HTTP interface.

Each file holds a group of commands; `words` is how all of them say yes and no.
"""

from flask import Flask

from cli import books, breaks, keys, merchant, messages, operator, purse, scheduler, settlement

# What was put on a group by being imported: `messages` and `breaks` speak of settlement.
__all__ = [
    "books",
    "breaks",
    "keys",
    "merchant",
    "messages",
    "operator",
    "purse",
    "register",
    "scheduler",
    "settlement",
]


def register(app: Flask) -> None:
    """Add every command to ``flask``."""
    for group in (settlement.settlement, merchant.merchant, purse.purse, keys.keys, operator.operator):
        app.cli.add_command(group)
    for command in (books.migrate_command, books.audit_command, scheduler.scheduler_command):
        app.cli.add_command(command)
