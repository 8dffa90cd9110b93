"""The demo's mailbox: a real SMTP server that sends nothing on, and a page on which its letters can be read.

The wallet's letters carry links that activate and reset; here they can be clicked without anybody's mail account.
"""

import os
import re
import threading
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from itertools import count
from pathlib import Path
from time import time_ns
from typing import Any

import click
from aiosmtpd.controller import Controller
from flask import Flask, Response, abort, render_template
from flask.typing import ResponseReturnValue

from obole_demo.quiet import server

_LINK = re.compile(r"(https?://[^\s<>\"]+)")


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter as the page shows it; ``parts`` are pieces of its text, each with whether it is a link."""

    name: str
    recipient: str
    subject: str
    date: str
    parts: list[tuple[str, bool]]


class Box:
    """Keeps each letter as a file ``….eml``, named so that later ones sort later."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._numbers = count()
        self._turn = threading.Lock()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """What the SMTP server calls for a letter."""
        with self._turn:
            name = f"{time_ns()}-{next(self._numbers)}"
            unfinished = self.folder / f"{name}.part"
            with open(unfinished, "xb", opener=_private) as file:
                file.write(envelope.content)
            unfinished.rename(self.folder / f"{name}.eml")
        return "250 In the box"

    def letters(self) -> list[Letter]:
        """Every letter, newest first."""
        return [_read(file) for file in sorted(self.folder.glob("*.eml"), reverse=True)]


def _private(name: str, flags: int) -> int:
    """Letters carry links that open an account."""
    return os.open(name, flags, 0o600)


def create_mailbox(box: Box) -> Flask:
    """The page."""
    site = Flask(__name__)

    @site.get("/")
    def letters() -> ResponseReturnValue:
        return render_template("mailbox.html", letters=box.letters(), letter=None)

    @site.get("/letters/<name>")
    def letter(name: str) -> ResponseReturnValue:
        found = next((each for each in box.letters() if each.name == name), None) or abort(404)
        return render_template("mailbox.html", letter=found)

    @site.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return site


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where letters are kept.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, required=True, help="Where they are shown.")
@click.option("--smtp-port", type=int, required=True, help="Where they are taken.")
def main(folder: Path, host: str, port: int, smtp_port: int) -> None:
    """Take every letter that is sent, and show it, until stopped."""
    box = Box(folder)
    controller = Controller(box, host, smtp_port)
    controller.start()
    try:
        server(host, port, create_mailbox(box)).serve_forever()
    finally:
        controller.stop()


def _read(file: Path) -> Letter:
    message = message_from_bytes(file.read_bytes(), policy=default)
    text = message.get_content() if isinstance(message, EmailMessage) and not message.is_multipart() else ""
    pieces = _LINK.split(str(text).replace("\r\n", "\n"))
    return Letter(
        name=file.stem,
        recipient=str(message["To"]),
        subject=str(message["Subject"]),
        date=str(message["Date"]),
        parts=[(piece, index % 2 == 1) for index, piece in enumerate(pieces)],
    )


if __name__ == "__main__":
    main(prog_name="python -m obole_demo.mailbox")
