"""The baseline of a request: a Flask application that answers nothing, served like the wallet."""

from flask import Flask

app = Flask(__name__, static_folder=None)


@app.get("/")
def nothing() -> str:
    """An empty answer."""
    return ""
