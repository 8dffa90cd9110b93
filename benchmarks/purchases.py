"""HTTP purchases per second: orders signed by devices, each a durable transaction, answered with a voucher."""

import json
from collections.abc import Callable, Iterator, Sequence

from benchmarks import load, raw, signatures
from benchmarks.load import Load
from benchmarks.results import Rate
from benchmarks.scenes import Buyer, Scene

EMPTY_REQUEST = "empty Flask request"
SIGNATURES = "Ed25519 verify + sign"
BARE_SQL = "bare SQL"
OWN_PURSES = "purchases"
ONE_PURSE = "purchases, all from one purse"

# More orders than any of these servers answers in a second; they are signed beforehand.
MOST_PER_SECOND = 2_000
_WARM_UP = 10


def measure(
    scene: Scene,
    *,
    wallet_port: int,
    bare_port: int,
    clients: Sequence[int],
    seconds: float,
    progress: Callable[[str], None],
) -> Iterator[Rate]:
    """A rate for each number of clients, each with purses of its own; then one purse for all of the middle number."""
    progress("signatures and SQL alone")
    alone = {
        SIGNATURES: signatures.measure(seconds).verify_and_sign_per_second,
        BARE_SQL: raw.purchases_per_second(scene, seconds),
    }
    middle = sorted(clients)[len(clients) // 2]
    for count in clients:
        progress(f"purchases, {count} clients")
        empty = load.put(bare_port, [[load.request("GET", "/")]] * count, seconds=seconds, warm_up=_WARM_UP, cycle=True)
        baselines = {EMPTY_REQUEST: empty.per_second, **alone}
        shares = [scene.buyers[number::count] for number in range(count)]
        yield _rate(OWN_PURSES, scene, wallet_port, shares, seconds, baselines)
        if count == middle:
            progress(f"purchases, {count} clients, one purse")
            yield _rate(ONE_PURSE, scene, wallet_port, [scene.buyers[:1]] * count, seconds, baselines)


def buy(
    scene: Scene,
    port: int,
    shares: Sequence[Sequence[Buyer]],
    *,
    most: int,
    seconds: float,
    until: Callable[[], object] | None = None,
) -> Load:
    """Purchases by one client for each share of the buyers, ``most`` of them in all; see `load.put`."""
    each = _WARM_UP + 1 + most // len(shares)
    requests = [[_request(order) for order in scene.orders(buyers, each)] for buyers in shares]
    seen = load.put(port, requests, seconds=seconds, warm_up=_WARM_UP, until=until)
    if "voucher" not in json.loads(seen.last):
        raise RuntimeError(f"That is no voucher: {seen.last}")
    return seen


def _rate(
    what: str,
    scene: Scene,
    port: int,
    shares: Sequence[Sequence[Buyer]],
    seconds: float,
    baselines: dict[str, float],
) -> Rate:
    seen = buy(scene, port, shares, most=int(MOST_PER_SECOND * seconds), seconds=seconds)
    return Rate(
        what=what,
        clients=seen.clients,
        per_second=seen.per_second,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        baselines=baselines,
    )


def _request(order: str) -> bytes:
    return load.request("POST", "/v1/vouchers", json.dumps({"order": order}).encode())
