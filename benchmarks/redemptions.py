"""Redemptions per second: merchants turn in vouchers a thousand at a time over HTTP."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from uuid import uuid4

from benchmarks import load, raw, signatures
from benchmarks.results import Rate
from benchmarks.scenes import Scene, Seller

SIGNATURES = "Ed25519 verify"
BARE_SQL = "bare SQL"

# More batches than a server redeems in a second.
_MOST_BATCHES_PER_SECOND = 4
_RAW_BATCHES = 5


def measure(
    scene: Scene,
    *,
    port: int,
    clients: Sequence[int],
    seconds: float,
    batch: int,
    progress: Callable[[str], None],
) -> Iterator[Rate]:
    """A rate for the least and the middle number of clients, each a merchant that turns in batch after batch."""
    progress("verification and SQL alone")
    baselines = {
        SIGNATURES: signatures.measure(seconds).verify_per_second,
        BARE_SQL: raw.redemptions_per_second(scene, scene.sellers[-1], batches=_RAW_BATCHES, size=batch),
    }
    ordered = sorted(clients)
    for count in sorted({ordered[0], ordered[len(ordered) // 2]}):
        progress(f"redemptions, {count} clients")
        each = 1 + max(2, math.ceil(_MOST_BATCHES_PER_SECOND * seconds / count))
        requests = [_batches(scene, scene.sellers[number % len(scene.sellers)], each, batch) for number in range(count)]
        seen = load.put(port, requests, seconds=seconds)
        if '"outcome":"redeemed"' not in seen.last:
            raise RuntimeError(f"That redeemed nothing: {seen.last}")
        yield Rate(
            what=f"redemptions, {batch} a batch",
            clients=count,
            per_second=seen.per_second * batch,
            p50_ms=seen.p50_ms,
            p99_ms=seen.p99_ms,
            baselines=baselines,
        )


def _batches(scene: Scene, seller: Seller, count: int, size: int) -> list[bytes]:
    tokens = scene.vouchers(seller, count * size)
    return [_request(seller, tokens[start : start + size]) for start in range(0, len(tokens), size)]


def _request(seller: Seller, tokens: Sequence[str]) -> bytes:
    body = json.dumps({"vouchers": [{"voucher": token} for token in tokens]}).encode()
    return load.request(
        "POST",
        "/v1/redemptions",
        body,
        authorization=f"Bearer {seller.token}",
        idempotency_key=str(uuid4()),
    )
