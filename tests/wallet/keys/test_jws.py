"""Tokens: two other libraries agree with ours, the vectors of RFC 8037 hold, and nothing odd gets in."""

import base64
import json

import jwt
import nacl.bindings
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import OKPKey
from nacl.signing import SigningKey

from wallet.keys import jws
from wallet.keys.jws import BadToken

KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)
KID = jws.thumbprint(PUBLIC)
TYPE = "voucher+jwt"
CLAIMS: dict[str, object] = {
    "iss": "https://wallet.example",
    "aud": "https://boulangerie.example",
    "jti": "0190a1b2-0000-7000-8000-000000000000",
    "iat": 1_700_000_000,
    "exp": 4_102_444_800,
    "amount": "0.07",
    "asset": "EUR",
    "resource": "https://boulangerie.example/brioché/1",
    "cnf": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": jws.b64url(PUBLIC)}},
}

# RFC 8037 appendix A.1, A.4.
RFC_SEED = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC_PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
RFC_TOKEN = (
    "eyJhbGciOiJFZERTQSJ9"
    ".RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

# The order of the base point (RFC 8032 section 5.1): S and S + L are the same scalar, spelled twice.
L = 2**252 + 27742317777372353535851937790883648493


def token(claims=CLAIMS):
    return jws.sign(header_type=TYPE, kid=KID, claims=claims, key=KEY)


def accept(text, public_key=PUBLIC):
    return jws.verify(jws.parse(text, header_type=TYPE), public_key)


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header, payload):
    """A token over any header and payload, with a good signature: only its content can be wrong."""
    signing_input = f"{part(header)}.{part(payload)}"
    return f"{signing_input}.{part(KEY.sign(signing_input.encode()).signature)}"


def header(**changes):
    return {"alg": "EdDSA", "typ": TYPE, "kid": KID} | changes


# --- what we sign, others read, and the reverse ------------------------------------------------------------


def test_our_own_tokens_come_back():
    assert accept(token()) == CLAIMS


def test_the_header_and_the_bytes_are_exactly_these():
    text = token({"amount": "0.07", "à": ["é", 1, True, None]})
    first, second, _ = text.split(".")
    assert jws.unb64url(first) == b'{"alg":"EdDSA","typ":"voucher+jwt","kid":"%s"}' % KID.encode()
    assert jws.unb64url(second) == '{"amount":"0.07","à":["é",1,true,null]}'.encode()


def test_signing_twice_gives_the_same_bytes_and_another_order_does_not():
    assert token() == token(dict(CLAIMS))
    assert token() != token(dict(reversed(CLAIMS.items())))


def test_pyjwt_verifies_our_tokens():
    key = jwt.PyJWK(jws.public_jwk(PUBLIC, KID), algorithm="EdDSA")
    assert jwt.decode(token(), key, algorithms=["EdDSA"], audience="https://boulangerie.example") == CLAIMS


# RFC 9864 prefers the name Ed25519; EdDSA is the one that every library of today reads.
knows_eddsa_is_old = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")


@knows_eddsa_is_old
def test_joserfc_verifies_our_tokens():
    key = OKPKey.import_key(dict(jws.public_jwk(PUBLIC, KID)))
    read = joserfc_jwt.decode(token(), key, algorithms=["EdDSA"])
    assert (read.claims, read.header) == (CLAIMS, header())


def test_we_verify_the_tokens_of_pyjwt():
    private = {"kty": "OKP", "crv": "Ed25519", "x": jws.b64url(PUBLIC), "d": jws.b64url(bytes(KEY))}
    key = jwt.PyJWK(private, algorithm="EdDSA")
    text = jwt.encode(CLAIMS, key, algorithm="EdDSA", headers={"typ": TYPE, "kid": KID})
    assert accept(text) == CLAIMS


@knows_eddsa_is_old
def test_we_verify_the_tokens_of_joserfc():
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jws.b64url(PUBLIC), "d": jws.b64url(bytes(KEY))})
    text = joserfc_jws.serialize_compact(header(), json.dumps(CLAIMS).encode(), key, algorithms=["EdDSA"])
    assert accept(text) == CLAIMS


def test_rfc_8037_a3_thumbprint():
    assert jws.thumbprint(jws.unb64url(RFC_PUBLIC)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_rfc_8037_a4_the_same_key_signs_the_same_bytes():
    key = SigningKey(jws.unb64url(RFC_SEED))
    assert jws._compact(b'{"alg":"EdDSA"}', b"Example of Ed25519 signing", key) == RFC_TOKEN


def test_rfc_8037_a5_its_signature_holds_and_its_thin_header_does_not():
    signing_input, signature = RFC_TOKEN.rsplit(".", 1)
    unverified = jws.Unverified({}, "", "", {"it": "holds"}, signing_input.encode(), jws.unb64url(signature))
    assert jws.verify(unverified, jws.unb64url(RFC_PUBLIC)) == {"it": "holds"}
    with pytest.raises(BadToken, match="header"):
        jws.parse(RFC_TOKEN, header_type=TYPE)


# --- what does not get in ----------------------------------------------------------------------------------

H, P, S = token().split(".")
STANDARD = b'{"a":">>>???>>>???"}'  # has both letters in which the alphabets differ
DEEP = b'{"a":' + b"[" * 2900 + b"]" * 2900 + b"}"

ODD = {
    "nothing": ("", "three parts"),
    "two parts": (f"{H}.{P}", "three parts"),
    "four parts": (f"{H}.{P}.{S}.", "three parts"),
    "five parts, as JWE": (f"{H}.{P}.{S}.{S}.{S}", "three parts"),
    "JSON serialization": (json.dumps({"payload": P, "protected": H, "signature": S}), "three parts"),
    "a newline behind": (token() + "\n", "base64url"),
    "a space before": (" " + token(), "base64url"),
    "a space inside": (f"{H} .{P}.{S}", "base64url"),
    "padding": (f"{H}.{P}.{S}==", "base64url"),
    "one padding": (f"{H}.{P}.{S}=", "base64url"),
    "standard alphabet": (signed(header(), STANDARD).replace("-", "+").replace("_", "/"), "base64url"),
    "not ASCII": (f"{H}.{P}é.{S}", "base64url"),
    "a lone surrogate": (f"{H}.{P}\ud800.{S}", "base64url"),
    "an impossible length": (f"{H}.{P}.{S[:-1]}", "base64url"),
    "trailing bits": (f"{H}.{P}.{S[:-1]}{'B' if S[-1] in 'AQgw' else 'A'}", "base64url"),
    "no header": (f".{P}.{S}", "JSON"),
    "no payload": (signed(header(), b""), "JSON"),
    "no signature": (f"{H}.{P}.", "64 bytes"),
    "63 bytes of signature": (f"{H}.{P}.{part(bytes(63))}", "64 bytes"),
    "65 bytes of signature": (f"{H}.{P}.{part(bytes(65))}", "64 bytes"),
    "too long": (token({"resource": "x" * 5700}) + "A" * 1000, "too long"),
    "alg none": (signed(header(alg="none"), CLAIMS), "alg"),
    "alg None": (signed(header(alg="None"), CLAIMS), "alg"),
    "alg none, unsigned": (f"{part(header(alg='none'))}.{P}.", "alg"),
    "alg HS256": (signed(header(alg="HS256"), CLAIMS), "alg"),
    "alg ES256": (signed(header(alg="ES256"), CLAIMS), "alg"),
    "alg RS256": (signed(header(alg="RS256"), CLAIMS), "alg"),
    "alg Ed25519": (signed(header(alg="Ed25519"), CLAIMS), "alg"),
    "alg eddsa": (signed(header(alg="eddsa"), CLAIMS), "alg"),
    "alg a list": (signed(header(alg=["EdDSA"]), CLAIMS), "alg"),
    "alg null": (signed(header(alg=None), CLAIMS), "alg"),
    "typ of an order": (signed(header(typ="order+jwt"), CLAIMS), "typ"),
    "typ JWT": (signed(header(typ="JWT"), CLAIMS), "typ"),
    "typ in capitals": (signed(header(typ="VOUCHER+JWT"), CLAIMS), "typ"),
    "typ a number": (signed(header(typ=1), CLAIMS), "typ"),
    "kid a number": (signed(header(kid=1), CLAIMS), "kid"),
    "kid null": (signed(header(kid=None), CLAIMS), "kid"),
    "kid an object": (signed(header(kid={}), CLAIMS), "kid"),
    "kid empty": (signed(header(kid=""), CLAIMS), "kid"),
    "no kid": (signed({"alg": "EdDSA", "typ": TYPE}, CLAIMS), "header"),
    "no typ": (signed({"alg": "EdDSA", "kid": KID}, CLAIMS), "header"),
    "no alg": (signed({"typ": TYPE, "kid": KID}, CLAIMS), "header"),
    "crit": (signed(header(crit=["exp"], exp=1), CLAIMS), "header"),
    "crit empty": (signed(header(crit=[]), CLAIMS), "header"),
    "b64 false": (signed(header(b64=False, crit=["b64"]), CLAIMS), "header"),
    "jwk": (signed(header(jwk=jws.public_jwk(PUBLIC, KID)), CLAIMS), "header"),
    "jku": (signed(header(jku="https://evil.example/jwks.json"), CLAIMS), "header"),
    "x5u": (signed(header(x5u="https://evil.example/chain.pem"), CLAIMS), "header"),
    "x5c": (signed(header(x5c=["MIIB"]), CLAIMS), "header"),
    "zip": (signed(header(zip="DEF"), CLAIMS), "header"),
    "cty": (signed(header(cty="JWT"), CLAIMS), "header"),
    "duplicate alg": (
        signed(b'{"alg":"none","alg":"EdDSA","typ":"voucher+jwt","kid":"k"}', CLAIMS),
        "duplicate",
    ),
    "duplicate alg, spelled twice": (
        signed(b'{"\\u0061lg":"none","alg":"EdDSA","typ":"voucher+jwt","kid":"k"}', CLAIMS),
        "duplicate",
    ),
    "duplicate claim": (signed(header(), b'{"amount":"0.07","amount":"70.00"}'), "duplicate"),
    "duplicate below": (signed(header(), b'{"cnf":{"jwk":1,"jwk":2}}'), "duplicate"),
    "header a list": (signed(["EdDSA", TYPE, KID], CLAIMS), "object"),
    "payload a list": (signed(header(), []), "object"),
    "payload a string": (signed(header(), "amount"), "object"),
    "payload a number": (signed(header(), 7), "object"),
    "payload null": (signed(header(), None), "object"),
    "payload text": (signed(header(), b"amount=7"), "JSON"),
    "two payloads": (signed(header(), b"{}{}"), "JSON"),
    "byte order mark": (signed(header(), b"\xef\xbb\xbf{}"), "JSON"),
    "UTF-16": (signed(header(), "{}".encode("utf-16")), "JSON"),
    "a control character": (signed(header(), b'{"a":"\n"}'), "JSON"),
    "single quotes": (signed(header(), b"{'a':1}"), "JSON"),
    "a comma too many": (signed(header(), b'{"a":1,}'), "JSON"),
    "NaN": (signed(header(), b'{"amount":NaN}'), "integer"),
    "Infinity": (signed(header(), b'{"exp":Infinity}'), "integer"),
    "-Infinity": (signed(header(), b'{"exp":-Infinity}'), "integer"),
    "a float": (signed(header(), b'{"amount":0.07}'), "integer"),
    "a whole float": (signed(header(), b'{"exp":4102444800.0}'), "integer"),
    "an exponent": (signed(header(), b'{"exp":4e9}'), "integer"),
    "an integer of 4 400 digits": (signed(header(), b'{"exp":%s}' % (b"9" * 4400)), "too large"),
    "an integer beyond 2**53": (signed(header(), b'{"exp":9007199254740992}'), "too large"),
    "a negative one": (signed(header(), b'{"exp":-9007199254740992}'), "too large"),
    "invalid UTF-8": (signed(header(), b'{"a":"\xff"}'), "JSON"),
    "overlong UTF-8": (signed(header(), b'{"a":"\xc0\xaf"}'), "JSON"),
    "a surrogate in UTF-8": (signed(header(), b'{"a":"\xed\xa0\x80"}'), "JSON"),
    "a lone surrogate escaped": (signed(header(), b'{"a":"\\ud800"}'), "JSON"),
    "a lone surrogate as name": (signed(header(), b'{"\\udfff":1}'), "JSON"),
    "a lone surrogate in a list": (signed(header(), b'{"a":[{"b":"\\ud800x"}]}'), "JSON"),
    "NUL": (signed(header(), b'{"jti":"a\\u0000b"}'), "NUL"),
    "nine levels": (signed(header(), b'{"a":[[[[[[[[]]]]]]]]}'), "deep"),
    "thousands of levels": (signed(header(), DEEP), "deep|JSON"),
    "thousands of levels, open": (signed(header(), b"[" * 5800), "JSON"),
}


def test_the_pieces_of_the_table_are_sound():
    """Else its rows would fail for another reason than theirs."""
    assert accept(signed(header(), CLAIMS)) == CLAIMS
    assert accept(signed(header(), b' {"a" : [[[[[[[]]]]]]] } ')) == {"a": [[[[[[[]]]]]]]}
    assert accept(signed(header(), b'{"exp":9007199254740991,"nbf":-9007199254740991}'))["exp"] == 2**53 - 1
    assert accept(signed(header(), b'{"a":"\\ud83e\\udd50"}')) == {"a": "🥐"}
    assert {"-", "_"} <= set(part(STANDARD))
    assert len(token({"resource": "x" * 5900})) <= jws.MAX_TOKEN_CHARS < len(ODD["too long"][0])


@pytest.mark.parametrize("name", ODD)
def test_an_odd_token_is_refused_for_its_own_reason(name):
    text, reason = ODD[name]
    with pytest.raises(BadToken, match=reason):
        jws.parse(text, header_type=TYPE)


def test_every_other_last_character_of_the_signature_is_refused():
    """86 characters carry 516 bits, 4 more than the signature: the last one has only four honest values."""
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        if letter != S[-1]:
            with pytest.raises(BadToken):
                accept(f"{H}.{P}.{S[:-1]}{letter}")


def test_something_else_than_text_is_refused():
    for thing in (None, 7, b"a.b.c", ["a", "b", "c"]):
        with pytest.raises(BadToken):
            jws.parse(thing, header_type=TYPE)  # type: ignore[arg-type]


def test_deep_nesting_is_refused_the_same_with_little_stack_left():
    def deeper(levels):
        return deeper(levels - 1) if levels else jws.json_object(b'{"a":' * 500 + b"1" + b"}" * 500)

    for levels in (0, 100, 400, 800):
        with pytest.raises(BadToken):
            deeper(levels)


# --- signatures --------------------------------------------------------------------------------------------


def with_signature(signature):
    return f"{H}.{P}.{jws.b64url(signature)}"


def test_a_changed_bit_anywhere_breaks_the_signature():
    good = jws.parse(token(), header_type=TYPE)
    assert jws.verify(good, PUBLIC) == CLAIMS
    for position in range(0, 64 * 8, 7):
        flipped = bytearray(good.signature)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(BadToken, match="signature"):
            accept(with_signature(bytes(flipped)))


def test_the_payload_or_header_of_another_token_breaks_the_signature():
    other = token(CLAIMS | {"amount": "70.00"}).split(".")
    for text in (f"{H}.{other[1]}.{S}", f"{part(header(kid='another'))}.{P}.{S}"):
        with pytest.raises(BadToken, match="signature"):
            accept(text)


def test_another_key_breaks_the_signature():
    with pytest.raises(BadToken, match="signature"):
        accept(token(), bytes(SigningKey(bytes(32)).verify_key))


def test_a_key_of_another_length_is_no_key():
    for key in (b"", PUBLIC[:31], PUBLIC + b"\0", PUBLIC * 2):
        with pytest.raises(BadToken, match="32 bytes"):
            accept(token(), key)


def test_the_same_signature_has_one_spelling():
    signature = jws.unb64url(S)
    scalar = int.from_bytes(signature[32:], "little")
    with pytest.raises(BadToken, match="signature"):
        accept(with_signature(signature[:32] + (scalar + L).to_bytes(32, "little")))


@pytest.mark.parametrize("point", [bytes(32), (1).to_bytes(32, "little")])
def test_keys_of_small_order_sign_nothing(point):
    """With A of small order, R = A and S = 0 would satisfy the equation for one message in a few."""
    for message in range(64):
        text = f"{H}.{part({'jti': message})}.{jws.b64url(point + bytes(32))}"
        with pytest.raises(BadToken, match="signature"):
            accept(text, point)


# --- signing refuses what nobody could read ----------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"amount": 0.07},
        {"amount": float("nan")},
        {"exp": 2**53},
        {"resource": "\ud800"},
        {"resource": "a\0b"},
        {"resource": "x" * 8000},
        {"cnf": [[[[[[[[]]]]]]]]},
        {1: "a", "1": "b"},
    ],
    ids=repr,
)
def test_what_could_not_be_read_again_is_not_signed(claims):
    with pytest.raises(BadToken):
        token(claims)


def test_claims_that_contain_themselves_are_not_signed():
    claims: dict[str, object] = {}
    claims["cnf"] = claims
    with pytest.raises(BadToken):
        token(claims)


def test_without_a_kid_nothing_is_signed():
    with pytest.raises(BadToken, match="kid"):
        jws.sign(header_type=TYPE, kid="", claims=CLAIMS, key=KEY)


# --- public keys -------------------------------------------------------------------------------------------

JWK = {"kty": "OKP", "crv": "Ed25519", "x": RFC_PUBLIC}


def test_a_published_key_has_these_members_and_comes_back():
    published = jws.public_jwk(PUBLIC, KID)
    assert published == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": jws.b64url(PUBLIC),
        "kid": KID,
        "use": "sig",
    }
    assert jws.parse_public_jwk(published) == PUBLIC


@pytest.mark.parametrize(
    "exported",
    [
        {},
        {"key_ops": ["verify"], "ext": True},
        {"key_ops": ["verify"], "ext": True, "alg": "Ed25519"},
        {"alg": "EdDSA", "use": "sig", "kid": "phone"},
    ],
    ids=repr,
)
def test_a_key_as_browsers_export_it_is_read(exported):
    assert jws.parse_public_jwk(JWK | exported) == jws.unb64url(RFC_PUBLIC)


P25519 = 2**255 - 19
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
ORDER_2 = (P25519 - 1).to_bytes(32, "little")
OUTSIDE_THE_MAIN_SUBGROUP = nacl.bindings.crypto_core_ed25519_add(PUBLIC, ORDER_2)


@pytest.mark.parametrize(
    "changes",
    [
        {"d": RFC_SEED},
        {"d": None},
        {"kty": "EC"},
        {"kty": "oct"},
        {"kty": None},
        {"crv": "X25519"},
        {"crv": "Ed448"},
        {"crv": "ed25519"},
        {"use": "enc"},
        {"alg": "HS256"},
        {"alg": []},
        {"x": None},
        {"x": 7},
        {"x": ""},
        {"x": RFC_PUBLIC + "="},
        {"x": RFC_PUBLIC[:-1]},
        {"x": RFC_PUBLIC[:-1] + "p"},
        {"x": jws.b64url(bytes(31))},
        {"x": jws.b64url(bytes(33))},
        {"x": jws.b64url(bytes(32))},  # order 4
        {"x": jws.b64url((1).to_bytes(32, "little"))},  # the neutral element
        {"x": jws.b64url(ORDER_2)},
        {"x": jws.b64url(ORDER_8)},
        {"x": jws.b64url(OUTSIDE_THE_MAIN_SUBGROUP)},
        {"x": jws.b64url((P25519 + 3).to_bytes(32, "little"))},  # y = 3, not reduced
        {"x": jws.b64url((2).to_bytes(32, "little"))},  # y = 2 is not on the curve
        {"x": jws.b64url(b"\xff" * 32)},
    ],
    ids=repr,
)
def test_a_key_that_is_not_a_public_ed25519_key_is_refused(changes):
    with pytest.raises(BadToken):
        jws.parse_public_jwk(JWK | changes)


def test_a_key_must_be_an_object():
    for thing in (None, 7, "key", [JWK]):
        with pytest.raises(BadToken):
            jws.parse_public_jwk(thing)  # type: ignore[arg-type]


# --- anything at all ---------------------------------------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
ANY_BYTES = st.binary(max_size=80) | ANY_JSON.map(lambda value: json.dumps(value).encode())
ANY_PART = st.text(max_size=40) | ANY_BYTES.map(jws.b64url)


def refuses_or_reads(read, *arguments):
    """What is read, or None. Any exception but `BadToken` fails the test."""
    try:
        return read(*arguments)
    except BadToken:
        return None


@given(st.text() | st.lists(ANY_PART, min_size=3, max_size=3).map(".".join))
@example("..")
@example(RFC_TOKEN)
def test_any_text_is_refused_quietly(text):
    refuses_or_reads(accept, text)


@given(st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_bytes_are_refused_quietly(text):
    refuses_or_reads(accept, text)


@given(ANY_BYTES, ANY_BYTES)
def test_any_signed_content_is_refused_quietly(first, second):
    refuses_or_reads(accept, signed(first, second))
    refuses_or_reads(accept, signed(header(), second))


@given(ANY_JSON)
def test_any_json_is_no_surprise_as_public_key(value):
    refuses_or_reads(jws.parse_public_jwk, value)
    refuses_or_reads(jws.parse_public_jwk, {"kty": "OKP", "crv": "Ed25519", "x": value})


@given(st.binary(min_size=32, max_size=32))
def test_any_point_is_a_key_or_refused(raw):
    assert refuses_or_reads(jws.parse_public_jwk, JWK | {"x": jws.b64url(raw)}) in (None, raw)


@given(st.binary())
def test_base64url_comes_back(raw):
    assert jws.unb64url(jws.b64url(raw)) == raw
    assert jws.b64url(raw) == part(raw)


@given(st.text(alphabet="AQgwBZ09-_=+/ \n\u00e9", max_size=8))
def test_base64url_has_one_spelling(text):
    raw = refuses_or_reads(jws.unb64url, text)
    assert raw is None or jws.b64url(raw) == text


@given(st.dictionaries(st.text(max_size=8), ANY_JSON, max_size=5))
def test_what_is_signed_is_read_again_unchanged(claims):
    text = refuses_or_reads(token, claims)
    assert text is None or accept(text) == claims
