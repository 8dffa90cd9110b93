"""The jukebox on the market: five cents a song, played as soon as the wallet's webhook says that it is paid.

It never looks at what the browser brings back: the shopper may close the page right after paying, and the song plays
all the same.
"""

import io
import math
import secrets
import struct
import threading
import time
import wave
from dataclasses import dataclass, field
from functools import cache

from flask import Flask, Response, abort, g, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from obole_demo.shop import COMMON, CURRENCY, Untrusted, Wallet, create_site

PRICE = "0.05"
_RATE = 11_025
_BEAT_SECONDS = 0.36

# Old tunes that belong to everybody, as notes above middle C in half tones, each with its length in beats.
_TUNES: dict[str, tuple[str, str, str]] = {
    "frere-jacques": (
        "Frère Jacques",
        "canon, XVIIIᵉ siècle",
        "0 2 4 0 0 2 4 0 4 5 7:2 4 5 7:2 7:.5 9:.5 7:.5 5:.5 4 0 7:.5 9:.5 7:.5 5:.5 4 0 0 -5 0:2 0 -5 0:2",
    ),
    "au-clair-de-la-lune": (
        "Au clair de la lune",
        "chanson, XVIIIᵉ siècle",
        "0 0 0 2 4:2 2:2 0 4 2 2 0:4 0 0 0 2 4:2 2:2 0 4 2 2 0:4",
    ),
    "ode": (
        "An die Freude",
        "Beethoven, 1824",
        "4 4 5 7 7 5 4 2 0 0 2 4 4:1.5 2:.5 2:2 4 4 5 7 7 5 4 2 0 0 2 4 2:1.5 0:.5 0:2",
    ),
    "pont-d-avignon": (
        "Sur le pont d’Avignon",
        "ronde, XVIᵉ siècle",
        "0 0 0:2 2 2 2:2 4 5 7 0 -1 0 2 -5 0 0 0:2 2 2 2:2 4 5 7 0 2 -1 0:2",
    ),
    "greensleeves": (
        "Greensleeves",
        "air, XVIᵉ siècle",
        "9 12:2 14 16:1.5 17:.5 16 14:2 11 7:1.5 9:.5 11 12:2 9 9:1.5 8:.5 9 11:2 8 4:2",
    ),
    "bonne-nuit": (
        "Guten Abend, gut’ Nacht",
        "Brahms, 1868",
        "4 4 7:3 4 4 7:2 4 7 12 11:1.5 9 9 7:2 2 4 5:2 2 2 4 5:2 2 5 11 9 7 11 12:3",
    ),
}

_TEXTS = {
    "fr": COMMON["fr"]
    | {
        "name": "Jukebox du Marché",
        "motto": "Cinq centimes, et la place écoute",
        "now": "En ce moment",
        "silence": "Silence. Choisissez une chanson.",
        "play": "Écouter pour",
        "next": "Ensuite",
        "waiting": "Merci. Votre chanson part dès qu’Obole nous l’a dit.",
        "listen": "Écouter",
    },
    "en": COMMON["en"]
    | {
        "name": "Jukebox du Marché",
        "motto": "Five cents, and the whole square listens",
        "now": "Now playing",
        "silence": "Silence. Choose a song.",
        "play": "Play for",
        "next": "Up next",
        "waiting": "Thank you. Your song begins as soon as the wallet has told us.",
        "listen": "Listen",
    },
}


@dataclass(frozen=True, slots=True)
class Play:
    """One paid song, and when it is heard (seconds since 1970)."""

    order_id: str
    song: str
    begins: float
    ends: float


@dataclass(slots=True)
class Queue:
    """What is heard and what comes next, one song after the other."""

    plays: list[Play] = field(default_factory=list)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def add(self, order_id: str, now: float) -> None:
        """Play the song of an order once, however often we are told of it."""
        song = order_id.partition(".")[0]
        with self.turn:
            if song in _TUNES and all(play.order_id != order_id for play in self.plays):
                begins = max([now, *(play.ends for play in self.plays)])
                self.plays.append(Play(order_id, song, begins, begins + seconds(song)))

    def heard(self, now: float) -> tuple[Play | None, list[Play]]:
        """What is playing, and what is next."""
        with self.turn:
            left = [play for play in self.plays if play.ends > now]
        return (left[0], left[1:]) if left else (None, [])


def create_jukebox(wallet: Wallet) -> Flask:
    """The jukebox's site."""
    site, queue = create_site("jukebox", wallet, _TEXTS), Queue()

    @site.get("/<language>/")
    def front() -> ResponseReturnValue:
        if "voucher" in request.args:
            return redirect(url_for("front", thanks=1), 303)  # it stays in no history
        playing, following = queue.heard(time.time())
        return render_template("jukebox.html", songs=_TUNES, price=PRICE, playing=playing, following=following)

    @site.post("/<language>/songs/<song>")
    def play(song: str) -> ResponseReturnValue:
        title, *_ = _TUNES.get(song) or abort(404)
        page = wallet.checkout(
            f"{song}.{secrets.token_hex(8)}",
            PRICE,
            title,
            mode="at_once",
            success_url=wallet.shop + url_for("front", thanks=1),
            cancel_url=wallet.shop + url_for("front", cancelled=1),
            locale=g.language,
        )
        return redirect(page, 303)

    @site.post("/webhook")
    def told() -> ResponseReturnValue:
        try:
            event = wallet.event(dict(request.headers), request.get_data())
        except Untrusted:
            return "", 401
        data = event["data"]
        if event["type"] == "checkout.paid" and (data["amount"], data["currency"]) == (PRICE, CURRENCY):
            queue.add(data["order_id"], time.time())
        return "", 204

    @site.get("/now.json")
    def now() -> Response:
        playing, following = queue.heard(time.time())
        return jsonify(
            playing=None if playing is None else {"song": playing.song, "title": _TUNES[playing.song][0]},
            following=[_TUNES[each.song][0] for each in following],
        )

    @site.get("/songs/<song>.wav")
    def sound(song: str) -> Response:
        if song not in _TUNES:
            abort(404)
        return Response(tune(song), content_type="audio/wav", headers={"Cache-Control": "max-age=3600"})

    return site


def seconds(song: str) -> float:
    """How long a song lasts."""
    return sum(length for _, length in _notes(song)) * _BEAT_SECONDS


@cache
def tune(song: str) -> bytes:
    """The song as a WAV file: each note a plucked string, more or less."""
    samples: list[int] = []
    for half_tones, beats in _notes(song):
        count, frequency = int(beats * _BEAT_SECONDS * _RATE), 261.63 * 2 ** (half_tones / 12)
        for index in range(count):
            at = index / _RATE
            wave_form = math.sin(math.tau * frequency * at) + 0.35 * math.sin(2 * math.tau * frequency * at)
            samples.append(int(9_000 * wave_form * math.exp(-3.2 * at) * min(1.0, (count - index) / 200)))
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(_RATE)
        written.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()


def _notes(song: str) -> list[tuple[int, float]]:
    notes = (note.partition(":") for note in _TUNES[song][2].split())
    return [(int(height), float(length or 1)) for height, _, length in notes]
