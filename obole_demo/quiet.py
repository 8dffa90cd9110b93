"""A server for the demo's own pages that writes no address down: a shop's carry vouchers in their query."""

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: whoever reads the log would have what a shopper paid for."""


def server(host: str, port: int, site: Flask) -> BaseWSGIServer:
    """A server at this address, a thread for each request; `serve_forever` starts it."""
    return make_server(host, port, site, threaded=True, request_handler=_Quiet)
