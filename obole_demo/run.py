"""The whole system in one folder: server, scheduler, sandbox bank, and a town that has just gone shopping."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

from rich.console import Console

from obole_demo import setup, town
from obole_demo.client import Client, Http, Merchant, Refused, Shopper

_PURCHASES = 300
_TOP_UP = "50.00"
_LOOK_SECONDS = "2"


def serve(folder: Path, *, host: str, port: int) -> None:
    """Start everything in ``folder``, make the town the first time, and stay until SIGINT or SIGTERM."""
    console = Console()
    origin = f"http://{host}:{port}"
    settings = setup.prepare(folder, origin=origin)
    if settings["OBOLE_ORIGIN"] != origin:
        raise SystemExit(
            f"{folder} was made for {settings['OBOLE_ORIGIN']}, which is in every voucher it signed. "
            f"Start it there, or use another --folder."
        )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    _flask(settings, "migrate")
    processes = _start(settings, folder, host, port)
    try:
        transport = Http(host, port)
        with console.status("starting"):
            town.wait_for(
                lambda: _is_ready(transport) or _dead(processes), seconds=60, what="The server did not start."
            )
        _make_town(console, settings, folder, transport)
        _say_where(folder, origin)
        while not stop.wait(1) and not _dead(processes):
            pass
        if not stop.is_set():
            raise SystemExit(f"A process ended by itself; see {folder / 'logs'}.")
    finally:
        _stop(processes)


def _start(settings: dict[str, str], folder: Path, host: str, port: int) -> list[subprocess.Popen[bytes]]:
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    commands = {
        "server": ["-m", "gunicorn", "--bind", f"{host}:{port}", "app:create_app()"],
        "scheduler": ["-m", "flask", "--app", "app", "scheduler", "--every", _LOOK_SECONDS],
        "bank": ["-m", "sandbox_bank", "run", "--folder", settings["OBOLE_BANK_FOLDER"], "--every", _LOOK_SECONDS],
    }
    processes = []
    for name, command in commands.items():
        with (logs / f"{name}.log").open("ab") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *command],
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


def _make_town(console: Console, settings: dict[str, str], folder: Path, transport: Http) -> None:
    keys = folder / "demo-keys.json"
    if keys.exists():
        return
    operator = Client(transport, _flask(settings, "operator", "add", "demo").strip())
    with console.status("a town opens its shops"):
        try:
            sellers = town.merchants(operator, transport, 8)
        except Refused as refusal:
            if refusal.problem["code"] == "already_exists":
                raise SystemExit(f"{folder} holds a town left half built: remove it and start again.") from None
            raise
        buyers = town.shoppers(operator, transport, 6, origin=settings["OBOLE_ORIGIN"])
        for buyer in buyers:
            buyer.top_up(_TOP_UP, town.CURRENCY)
    with console.status("the bank books the top-ups"):
        town.wait_for(lambda: all(_has_money(buyer) for buyer in buyers), seconds=120, what="No top-up was booked.")
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
        "merchants": [{"name": each.name, "id": each.id, "key": each.client.token} for each in sellers],
    }
    unfinished = file.with_suffix(".part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        json.dump(people, opened, indent=2, ensure_ascii=False)
    unfinished.rename(file)


def _say_where(folder: Path, origin: str) -> None:
    people = json.loads((folder / "demo-keys.json").read_text())
    purse, merchant = people["purses"][0], people["merchants"][0]
    operator = people["operator"]["key"]
    bearer = "-H 'Authorization: Bearer"
    json_body = "-H 'Content-Type: application/json'"
    print(f"""
Obole is running at {origin}; stop it with Ctrl-C. Everything it keeps is in {folder}.

  {origin}/docs        every call, to try in the browser (paste a key under "Authorize")
  {folder / "demo-keys.json"}   the keys of the operator, the purses and the merchants
  {folder / "logs"}         what server, scheduler and bank say

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
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"flask {' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout
