"""A wallet that kills itself: ``python -m tests.faults.child SCENARIO STEP WHEN``, settings from the environment.

It does what SCENARIO names and sends itself SIGKILL right ``before`` or ``after`` its STEP-th commit or rename; for
step 0 it lives. Only those two can be seen by anybody else: what dies between them was memory. The end of a
transaction that only read is no step, since dying there is dying after the step before. Each step is noted in
the file that STEPS_FILE names, if any, with the verb that took it.

Without arguments it is a nursery: it reads one request a line and forks a process for each, which spares them
Python's start; it has no threads and no connections of its own.
"""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask
from werkzeug.serving import make_server

from app import create_app
from sandbox_bank.bank import Bank
from settlement import business_day, scheduler
from settlement.answers import breaks, entries, receiving, reconciliation
from settlement.bank.profile import next_banking_day
from settlement.payouts import cut, own_money
from settlement.payouts.owed import candidates
from settlement.runs import nightly
from settlement.tables import BreakKind, TransactionKind, TransactionState
from tests.support import OWN_IBAN
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.money import Money
from wallet.ground.smtp import smtp_account
from wallet.keys.ring import Keyring
from wallet.purchases import vouchers
from wallet.telling import mail
from wallet.telling.webhooks import deliver
from web.http.context import EXTENSION, Obole

_WAITS = {TransactionState.TO_RELEASE.value}
# No child outlives this, whatever becomes of who started it.
LONGEST_LIFE_SECONDS = 900
_ROOMS = tuple(str(Path(__file__).parents[2] / package) for package in ("wallet", "settlement", "web", "cli"))


def serve(app: Flask, listener: socket.socket) -> None:
    """The HTTP interface, one request after the other."""
    make_server("127.0.0.1", 0, app, fd=listener.fileno()).serve_forever()


def settle(obole: Obole) -> None:
    """The nightly run: close, balance, cut, place, render, submit."""
    nightly.run(obole.database, nightly.bank_of(obole.settings), at=clock.now())


def collect(obole: Obole) -> None:
    """Import what lies in the inbox."""
    scheduler.collect(obole.database, nightly.bank_of(obole.settings))


def import_by_hand(obole: Obole) -> None:
    """Import each file that a person has, which lies in no inbox."""
    for path in sorted((obole.settings.key_file.parent / "by hand").iterdir()):
        bank = nightly.bank_of(obole.settings)
        receiving.receive(obole.database, bank, path.read_bytes(), name=path.name, at=clock.now())


def pay_out(obole: Obole) -> None:
    """An operator asks for what is not asked for yet, and then it is night."""
    ask_for_payments(obole.database, nightly.bank_of(obole.settings))
    settle(obole)


def ask_for_payments(database: Database, bank: nightly.Bank) -> None:
    """Take out some of what the operator put in, and send back what nobody knows: each once, whoever asks again."""
    with database.settle() as conn:
        if not any(row.kind == TransactionKind.EQUITY.value for row in own_money.listing(conn, before=None, limit=9)):
            own_money.take_out(
                conn,
                TransactionKind.EQUITY,
                Money.parse("3.00", "EUR"),
                to=own_money.Account(name="Obole", iban=OWN_IBAN),
                why="ours",
                bank_fees_micros=bank.fees_micros,
                at=clock.now(),
            )
    while True:
        with database.settle() as conn:
            left = reconciliation.open_breaks(conn, before=None, limit=9)
            unknown = [row.id for row in left if row.kind == BreakKind.UNKNOWN_ENTRY.value]
            if not unknown:
                return
            breaks.send_back(conn, unknown[0], why="nobody's", at=clock.now())


def undo(obole: Obole) -> None:
    """A person takes back what was booked on early word that no statement told: each once, whoever asks again."""
    while True:
        with obole.database.settle() as conn:
            left = reconciliation.open_breaks(conn, before=None, limit=9)
            doubted = [row.id for row in left if row.kind == BreakKind.NOT_CONFIRMED.value]
            if not doubted:
                return
            breaks.undo(conn, doubted[0], why="it never came", at=clock.now())


def release(obole: Obole) -> None:
    """A person gives the bank a word on each name in doubt: the nearest is released, the others never are."""
    while True:
        with obole.database.settle() as conn:
            waiting = [row for row in reconciliation.awaited(conn, submitted_before=clock.now()) if row.state in _WAITS]
            if not waiting:
                return
            executed = waiting[0].payee_name is not None
            reconciliation.conclude(conn, waiting[0].id, executed=executed, why="looked it up", at=clock.now())


def collect_and_release(obole: Obole) -> None:
    """The one, then the other."""
    collect(obole)
    release(obole)


def lapse(obole: Obole) -> None:
    """Give back the holds that have ended."""
    scheduler.lapse(obole.database)


def tell(obole: Obole) -> None:
    """Send what is due by mail, over the post named in the folder, and to merchants' servers on this machine."""
    post = smtp_account((obole.settings.key_file.parent / "post").read_text(), "purse@wallet.example")
    mail.deliver(obole.database, post, now=clock.now)
    deliver.deliver(obole.database, obole.keyring, now=clock.now, allow_loopback=True)


def rotate(obole: Obole) -> None:
    """Make a new signing key."""
    Keyring.open(obole.settings.key_file, obole.settings.key_passphrase).rotate(now=clock.now())


def work_the_bank(obole: Obole) -> None:
    """One pass of the sandbox bank, which has nothing to do with the wallet but the folder."""
    with closing(Bank(obole.settings.bank_folder or "")) as bank:
        bank.work()


SCENARIOS: dict[str, Callable[[Obole], None]] = {
    "settle": settle,
    "collect": collect,
    "release": release,
    "collect and release": collect_and_release,
    "import by hand": import_by_hand,
    "pay out": pay_out,
    "undo": undo,
    "lapse": lapse,
    "tell": tell,
    "rotate": rotate,
    "bank": work_the_bank,
}


def small_batches() -> None:
    """Several chunks of everything in a scene of a handful."""
    cut._ASKED_FOR_AT_ONCE = 2
    business_day._BATCH = 3
    entries.CHUNK, entries._KEPT = 4, 7
    for verb in (candidates, vouchers.lapse):
        verb.__kwdefaults__ = {**(verb.__kwdefaults__ or {}), "limit": 2}


def arm(database: Database, step: int, when: str, steps: Path | None) -> None:
    """Count commits and renames from here, and die at the chosen one."""
    taken = 0

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            nonlocal taken
            verb = _verb(sys._getframe(1))
            if verb is None:
                return real(*args, **options)
            taken += 1
            if steps is not None:
                with steps.open("a") as journal:
                    journal.write(f"{verb}\n")
            if (taken, when) == (step, "before"):
                os.kill(os.getpid(), signal.SIGKILL)
            done = real(*args, **options)
            if (taken, when) == (step, "after"):
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return wrapped

    dialect = database.engine.dialect
    dialect.do_commit = deadly(dialect.do_commit)  # type: ignore[method-assign]
    for name in ("rename", "replace", "link"):
        setattr(os, name, deadly(getattr(os, name)))


def _verb(frame: FrameType | None) -> str | None:
    """The wallet's function at work, as ``module.function``; None inside a transaction that only reads."""
    found = None
    while frame is not None:
        code = frame.f_code
        if code is _READ:
            return None
        if found is None and code.co_filename.startswith(_ROOMS) and not code.co_filename.endswith("/db.py"):
            found = f"{Path(code.co_filename).stem}.{code.co_name}"
        frame = frame.f_back
    return found or "elsewhere"


_READ = Database.read.__wrapped__.__code__  # type: ignore[attr-defined]


def _live(app: Flask, scenario: str, step: int, when: str, given: Mapping[str, str], listener: Any) -> None:
    """Do one scenario on the database and folder in ``given``, or on those of the settings."""
    obole: Obole = app.extensions[EXTENSION]
    changes: dict[str, Any] = {}
    if given:
        folder = Path(given["folder"])
        changes = {
            "database_url": given["database_url"],
            "key_file": folder / "wallet.keys",
            "bank_folder": folder / "bank",
            "sandbox_folder": folder / "bank",
        }
    settings = replace(obole.settings, **changes)
    obole = replace(obole, settings=settings, database=Database(settings.database_url))
    app.extensions[EXTENSION] = obole
    small_batches()
    noted = given.get("steps") or os.environ.get("STEPS_FILE")
    if step:
        arm(obole.database, step, when, Path(noted) if noted else None)
    if scenario == "serve":
        serve(app, listener)
    else:
        SCENARIOS[scenario](obole)


def nursery(app: Flask) -> None:
    """Fork a child for each request on standard input: say its pid and port, and when it has ended its status."""
    next_banking_day(clock.today())  # loads a calendar that each child would load
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        listener = socket.create_server(("127.0.0.1", 0)) if asked["scenario"] == "serve" else None
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(LONGEST_LIFE_SECONDS)
                _live(app, asked["scenario"], asked["step"], asked["when"], asked, listener)
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        port = None
        if listener is not None:
            port = listener.getsockname()[1]
            listener.close()
        _say(pid=pid, port=port)
        _say(status=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """See the module."""
    app = create_app()
    if not arguments:
        nursery(app)
        return
    scenario, step, when = arguments
    listener = socket.create_server(("127.0.0.1", 0)) if scenario == "serve" else None
    if listener is not None:
        _say(pid=os.getpid(), port=listener.getsockname()[1])
    _live(app, scenario, int(step), when, {}, listener)


if __name__ == "__main__":
    main(sys.argv[1:])
