"""The whole system in one folder: server, scheduler, sandbox bank, two shops, a mailbox, and a town gone shopping.

Browsers give passkeys to names, not to addresses, so everything is at ``localhost``, each at a port of its own.
"""

import json
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from obole_demo import setup, town
from obole_demo.client import Client, Http, Merchant, Refused, Shopper

_PURCHASES = 300
_TOP_UP = "50.00"
# Of the operator's own: enough for the bank's fees of some weeks.
_PUT_IN = "100.00"
_LOOK_SECONDS = "2"
# For whatever the town waits for on a slow or busy machine; a program that ends is noticed before.
_PATIENCE_SECONDS = 240
_OPERATOR, _EDITOR = "operator@obole.example", "odile@courrier.example"


def serve(folder: Path, *, host: str, port: int) -> None:
    """Start everything in ``folder``, make the town the first time, and stay until SIGINT or SIGTERM."""
    console, ports = Console(), Ports(port)
    origin = f"http://localhost:{port}"
    settings = setup.prepare(folder, origin=origin, smtp_port=ports.smtp)
    if settings["OBOLE_ORIGIN"] != origin:
        raise SystemExit(
            f"{folder} was made for {settings['OBOLE_ORIGIN']}, which is in every voucher it signed. "
            f"Start it at that port, remove it, or use another --folder."
        )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    _flask(settings, "migrate")
    processes = _start(settings, folder, _system(settings, folder, host, ports))
    try:
        transport = Http("localhost", port)
        with console.status("starting"):
            town.wait_for(
                lambda: _is_ready(transport) or _dead(processes),
                seconds=_PATIENCE_SECONDS,
                what="The server did not start.",
            )
        _make_town(console, settings, folder, transport, ports)
        processes += _start(settings, folder, _shops(origin, folder, host, ports))
        with console.status("the shops open"):
            town.wait_for(
                lambda: all(_answers(each) for each in ports.pages) or _dead(processes),
                seconds=_PATIENCE_SECONDS,
                what="A shop did not open.",
            )
        _say_where(folder, origin, ports)
        while not stop.wait(1) and not _dead(processes):
            pass
        if not stop.is_set():
            raise SystemExit(f"A process ended by itself; see {folder / 'logs'}.")
    finally:
        _stop(processes)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, counted from the wallet's port."""

    wallet: int

    @property
    def newspaper(self) -> int:
        """The newspaper's pages."""
        return self.wallet + 1

    @property
    def jukebox(self) -> int:
        """The jukebox's pages."""
        return self.wallet + 2

    @property
    def mailbox(self) -> int:
        """The page with the letters."""
        return self.wallet + 3

    @property
    def smtp(self) -> int:
        """Where the wallet hands in its letters."""
        return self.wallet + 25

    @property
    def pages(self) -> tuple[int, ...]:
        """What can be clicked, beside the wallet."""
        return self.newspaper, self.jukebox, self.mailbox


def _system(settings: dict[str, str], folder: Path, host: str, ports: Ports) -> dict[str, list[str]]:
    box = ["--folder", str(folder / "mail"), "--port", str(ports.mailbox), "--smtp-port", str(ports.smtp)]
    return {
        "server": ["gunicorn", "--bind", f"{host}:{ports.wallet}", "app:create_app()"],
        "mailbox": ["obole_demo.mailbox", "--host", host, *box],
        "scheduler": ["flask", "--app", "app", "scheduler", "--every", _LOOK_SECONDS],
        "bank": ["sandbox_bank", "run", "--folder", settings["OBOLE_BANK_FOLDER"], "--every", _LOOK_SECONDS],
    }


def _shops(origin: str, folder: Path, host: str, ports: Ports) -> dict[str, list[str]]:
    common = ["--keys", str(_keys(folder)), "--wallet", origin, "--host", host]
    return {
        "newspaper": ["obole_demo.shops", "newspaper", *common, "--port", str(ports.newspaper)],
        "jukebox": ["obole_demo.shops", "jukebox", *common, "--port", str(ports.jukebox)],
    }


def _keys(folder: Path) -> Path:
    return folder / "demo-keys.json"


def _start(settings: dict[str, str], folder: Path, commands: dict[str, list[str]]) -> list[subprocess.Popen[bytes]]:
    logs = folder / "logs"
    logs.mkdir(0o700, exist_ok=True)
    processes = []
    for name, command in commands.items():
        with open(logs / f"{name}.log", "ab", opener=setup.private) as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command],
                    env=setup.environment_with(settings),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
    return processes


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def _dead(processes: list[subprocess.Popen[bytes]]) -> bool:
    return any(process.poll() is not None for process in processes)


def _is_ready(transport: Http) -> bool:
    try:
        return transport.send("GET", "/readyz", {}, None)[0] == 200
    except OSError:
        return False


def _answers(port: int) -> bool:
    try:
        return Http("localhost", port).send("GET", "/", {}, None)[0] < 400
    except OSError:
        return False


def _make_town(console: Console, settings: dict[str, str], folder: Path, transport: Http, ports: Ports) -> None:
    keys = _keys(folder)
    if keys.exists():
        return
    operator = Client(transport, _flask(settings, "operator", "add", "demo").strip())
    open_shops = {
        "courrier": f"http://localhost:{ports.newspaper}",
        "jukebox": f"http://localhost:{ports.jukebox}",
    }
    with console.status("a town opens its shops"):
        try:
            sellers = town.merchants(operator, transport, 8, open_shops=open_shops)
        except Refused as refusal:
            if refusal.problem["code"] == "already_exists":
                raise SystemExit(f"{folder} holds a town left half built: remove it and start again.") from None
            raise
        for seller in sellers:
            if seller.origin == open_shops["jukebox"]:
                seller.hear("/webhook")
        buyers = town.shoppers(operator, transport, 6, origin=settings["OBOLE_ORIGIN"])
        town.put_money_in(operator, Path(settings["OBOLE_SANDBOX_FOLDER"]), _PUT_IN)
        for buyer in buyers:
            buyer.top_up(_TOP_UP, town.CURRENCY)
    with console.status("the bank books the top-ups, and letters of invitation are written"):
        with ThreadPoolExecutor() as at_once:
            to_operator = ("operator", "invite", _OPERATOR, "--name", "Ada")
            to_editor = ("merchant", "invite", sellers[0].id, _EDITOR, "--name", "Odile Marchetti")
            list(at_once.map(lambda command: _flask(settings, *command), (to_operator, to_editor)))
        town.wait_for(
            lambda: all(_has_money(buyer) for buyer in buyers),
            seconds=_PATIENCE_SECONDS,
            what="No top-up was booked.",
        )
    with console.status(f"{_PURCHASES} purchases"):
        for buyer, seller, price, what in town.go_shopping(random.Random(2000), buyers, sellers, _PURCHASES):
            seller.vouchers.append(buyer.buy(seller.id, price, town.CURRENCY, what))
        for seller in sellers:
            for _ in seller.redeem_all():
                pass
    _write_keys(keys, operator, buyers, sellers)


def _has_money(buyer: Shopper) -> bool:
    balance: str = buyer.client.get(f"/v1/purses/{buyer.purse_id}")["balance"]
    return balance == _TOP_UP


def _write_keys(file: Path, operator: Client, buyers: list[Shopper], sellers: list[Merchant]) -> None:
    people = {
        "operator": {"key": operator.token},
        "purses": [{"name": each.name, "id": each.purse_id, "key": each.client.token} for each in buyers],
        "merchants": [
            {
                "name": each.name,
                "id": each.id,
                "key": each.client.token,
                "origin": each.origin,
                "webhook_secret": each.webhook_secret,
            }
            for each in sellers
        ],
    }
    unfinished = file.with_suffix(".part")
    with open(unfinished, "w", opener=setup.private) as opened:
        json.dump(people, opened, indent=2, ensure_ascii=False)
    unfinished.rename(file)


def _say_where(folder: Path, origin: str, ports: Ports) -> None:
    people = json.loads(_keys(folder).read_text())
    purse, merchant = people["purses"][0], people["merchants"][0]
    operator = people["operator"]["key"]
    bearer = "-H 'Authorization: Bearer"
    json_body = "-H 'Content-Type: application/json'"
    print(f"""
Obole is running at {origin}; stop it with Ctrl-C. Everything it keeps is in {folder}.

Click:

  http://localhost:{ports.newspaper}         a newspaper: an article for 0.20 EUR
  http://localhost:{ports.jukebox}         a jukebox: a song for 0.05 EUR
  {origin}         the wallet: sign up, top up (the sandbox bank pays at once), pay
  http://localhost:{ports.mailbox}         the mailbox: every letter the wallet sends, with its links
  {origin}/docs    every call, to try in the browser (paste a key under "Authorize")

Two letters wait in the mailbox: to {_OPERATOR}, the way into the operators' console, and to
{_EDITOR}, the way into the newspaper's office.

  {_keys(folder)}   the keys of the operator, the purses and the merchants
  {folder / "logs"}         what server, scheduler, bank, shops and mailbox say

Try, in another terminal:

  # what is in {purse["name"]}'s purse
  curl -s {bearer} {purse["key"]}' {origin}/v1/purses/{purse["id"]}

  # buy something for 0.20 EUR at {merchant["name"]}: debited at once, answered with a signed voucher
  curl -s {bearer} {purse["key"]}' -H 'Idempotency-Key: my-first' {json_body} \\
    -d '{{"purse_id":"{purse["id"]}","merchant_id":"{merchant["id"]}","amount":"0.20","currency":"EUR"}}' \\
    {origin}/v1/vouchers

  # why is {merchant["name"]} not paid yet?
  curl -s {bearer} {merchant["key"]}' {origin}/v1/payable

  # what tonight would pay; then do it now, and see the bank's answer a few seconds later
  curl -s {bearer} {operator}' {origin}/v1/settlement/preview
  curl -s {bearer} {operator}' {json_body} -d '{{}}' {origin}/v1/settlement/runs
  curl -s {bearer} {merchant["key"]}' {origin}/v1/payouts

  # recompute the books to the last cent
  make audit
""")


def _flask(settings: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", *command],
        env=setup.environment_with(settings),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"flask {' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout
