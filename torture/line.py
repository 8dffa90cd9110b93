"""One client's connection to the server, wherever that is now: it is started anew, at another port, all the time."""

import http.client
import json
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.servers import HOST
from torture.journal import Answer

# Longer than anything takes but what was stopped; then the same is sent again.
_PATIENCE_SECONDS = 15


class Line:
    """A kept-alive connection that is made again whenever it broke. ``port`` says where to, or None: nowhere now."""

    def __init__(self, port: Callable[[], int | None]) -> None:
        self._port = port
        self._connected_to: int | None = None
        self._connection: http.client.HTTPConnection | None = None

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[http.client.HTTPMessage, int, bytes] | None:
        """Headers, status and body of the answer; None when there was none, whatever was done."""
        port = self._port()
        if port is None:
            return None
        if port != self._connected_to or self._connection is None:
            self.close()
            self._connection = http.client.HTTPConnection(HOST, port, timeout=_PATIENCE_SECONDS)
            self._connected_to = port
        try:
            self._connection.request(method, path, body, dict(headers))
            response = self._connection.getresponse()
            return response.headers, response.status, response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None

    def post(self, path: str, body: object, *, token: str | None = None, key: str | None = None) -> Answer | None:
        """What the interface answers to JSON, or None."""
        return self._json("POST", path, json.dumps(body).encode(), token, key)

    def get(self, path: str, *, token: str | None = None) -> Answer | None:
        """What the interface answers, or None."""
        return self._json("GET", path, None, token, None)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _json(self, method: str, path: str, body: bytes | None, token: str | None, key: str | None) -> Answer | None:
        headers = {} if body is None else {"Content-Type": "application/json"}
        headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        answered = self.ask(method, path, headers, body)
        if answered is None:
            return None
        _, status, raw = answered
        try:
            said: Any = json.loads(raw)
        except ValueError:
            said = raw[:200].decode("utf-8", "replace")
        return Answer(status, said)
