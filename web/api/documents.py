"""A payout's statement as a file to keep: for a spreadsheet, for people, and signed. The pages offer the same.

Invariant: a file's name says which payout it is of, and its bytes are the same whoever asks and whenever (signed anew
only after the wallet's key was rotated); where the payout came back, CSV and PDF say so from then on.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from flask import Response
from sqlalchemy.engine import Row

from settlement.documents import payout_statements
from wallet.ground.db import Database
from web.http.context import Obole

CSV = "text/csv"
PDF = "application/pdf"
# RFC 7515 section 9.2.1: a JWS in its compact form.
JOSE = "application/jose"


def csv_file(obole: Obole, payout: Row[Any]) -> Response:
    """Every line, then the totals, sent as it is read."""
    return _file(_streamed(obole.database, payout), f"{CSV}; charset=utf-8", payout, "csv")


def pdf_file(obole: Obole, payout: Row[Any], *, locale: str) -> Response:
    """Page by page, in ``locale``."""
    with obole.database.read() as conn:
        document = payout_statements.as_pdf(conn, payout, locale=locale)
    return _file(document, PDF, payout, "pdf")


def signed_file(obole: Obole, payout: Row[Any]) -> Response:
    """The figures and the Merkle root over the lines, signed."""
    with obole.database.read() as conn:
        claims = payout_statements.claims(conn, payout, origin=obole.issuer.origin)
    return _file(obole.keyring.sign(payout_statements.STATEMENT_TYPE, claims), JOSE, payout, "jws")


def proof(obole: Obole, payout: Row[Any], voucher_id: UUID) -> dict[str, Any]:
    """The lines about a voucher with their proofs, and the root that they lead to, signed; or `VoucherNotFound`."""
    with obole.database.read() as conn:
        payout, proven = payout_statements.proofs(conn, payout, voucher_id)
        claims = payout_statements.root_claims(conn, payout, origin=obole.issuer.origin)
    return {
        "root": obole.keyring.sign(payout_statements.ROOT_TYPE, claims),
        "lines": [
            {
                "leaf": each.leaf.decode(),
                "index": each.proof.index,
                "size": each.proof.size,
                "path": [beside.hex() for beside in each.proof.path],
            }
            for each in proven
        ],
    }


def _streamed(database: Database, payout: Row[Any]) -> Iterator[str]:
    # A payout's list never changes, so it can be read while it is sent, however long it is.
    with database.read() as conn:
        yield from payout_statements.as_csv(conn, payout)


def _file(content: bytes | str | Iterator[str], content_type: str, payout: Row[Any], ending: str) -> Response:
    response = Response(content, content_type=content_type)
    name = f"payout-{payout.business_date.isoformat()}-{payout.reference}.{ending}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
