"""A security key in software: what a browser and a passkey answer, for tests without either."""

import base64
import hashlib
import json
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

_PRESENT_AND_VERIFIED = 0x05
_WITH_KEY = 0x40


class Authenticator:
    """One passkey, made by ``register`` and asked by ``sign``."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.rp_id = origin.split("//")[1].split(":", maxsplit=1)[0]
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.credential_id = hashlib.sha256(repr(self.key.private_numbers().private_value).encode()).digest()
        self.count = 0

    def register(self, options: dict[str, Any]) -> dict[str, Any]:
        """The answer to PublicKeyCredentialCreationOptions (WebAuthn section 6.5.4, attestation "none")."""
        numbers = self.key.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)})
        attested = bytes(16) + len(self.credential_id).to_bytes(2) + self.credential_id + public
        data = self._data(_PRESENT_AND_VERIFIED | _WITH_KEY) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client_data = self._client_data("webauthn.create", options)
        return self._answer({"clientDataJSON": _b64(client_data), "attestationObject": _b64(attestation)})

    def sign(self, options: dict[str, Any], *, flags: int = _PRESENT_AND_VERIFIED) -> dict[str, Any]:
        """The answer to PublicKeyCredentialRequestOptions."""
        self.count += 1
        client_data, data = self._client_data("webauthn.get", options), self._data(flags)
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        said = {"clientDataJSON": client_data, "authenticatorData": data, "signature": signature}
        return self._answer({name: _b64(raw) for name, raw in said.items()} | {"userHandle": None})

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)

    def _client_data(self, kind: str, options: dict[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _answer(self, response: dict[str, Any]) -> dict[str, Any]:
        name = _b64(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
