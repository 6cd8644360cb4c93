"""An authority for tests: RFC 8555 and 9773 as far as we use them, strict about what it is sent, in memory.

It checks each signature, nonce and key authorisation, asks the data plane's `Answers` for the proof, and
issues real certificates by a key of its own. What it does wrong is set by its attributes.
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import digest
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import trio
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID

from lb.acme.answers import Answers
from lb.acme.jose import base64url, from_base64url
from lb.acme.proofs import ACME_IDENTIFIER

DAY = 86400.0
URN = "urn:ietf:params:acme:error:"
ACCOUNT = "/account/"


def problem(kind: str, detail: str = "so it is", status: int = 400, **more: Any) -> httpx.Response:
    fields = {"Retry-After": str(more.pop("retry_after"))} if "retry_after" in more else {}
    content = {"type": URN + kind, "detail": detail, "status": status, **more}
    return httpx.Response(status, json=content, headers=fields)


@dataclass
class Authority:
    """The authority at https://HOST/directory. `now` is the time in what it issues."""

    folder: Path
    now: Callable[[], float]
    host: str = "ca.test"
    lifetime: float = 90 * DAY
    has_ari: bool = True
    window: Callable[[float, float], tuple[float, float]] | None = None
    terms: str = "https://ca.test/terms"
    external: dict[str, bytes] = field(default_factory=dict)
    is_away: bool = False
    bad_nonces: int = 0
    pending_polls: int = 0
    poll_retry_after: str | None = None
    challenges: tuple[str, ...] = ("http-01", "tls-alpn-01")
    before: Callable[[str, Any], httpx.Response | None] = lambda path, payload: None
    """May answer a request in place of what follows; it gets the path and the payload."""
    wrong: Callable[[str], dict[str, Any] | None] = lambda name: None
    """May say why the proof of a name is not believed."""
    authorization_is_valid: bool = False

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.numbers = count(1)
        self.nonces: set[str] = set()
        self.accounts: dict[str, dict[str, Any]] = {}
        self.contacts: dict[str, list[str]] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.chains: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.ordered: list[tuple[float, dict[str, Any]]] = []
        self.issued: list[tuple[float, str]] = []
        self.looks: list[float] = []
        self.proofs_seen: list[str] = []

    @property
    def directory(self) -> str:
        return self.url("/directory")

    def url(self, path: str) -> str:
        return f"https://{self.host}{path}"

    async def answer(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise httpx.ConnectError("connection refused")
        path = request.url.path
        self.asked.append(f"{request.method} {path}")
        response = self._answer(request, path)
        response.headers["Replay-Nonce"] = self._nonce()
        return response

    def _nonce(self) -> str:
        nonce = base64url(str(next(self.numbers)).encode())
        self.nonces.add(nonce)
        return nonce

    def _answer(self, request: httpx.Request, path: str) -> httpx.Response:
        if request.method != "POST":
            return self.before(path, None) or self._read(path)
        payload, key = self._opened(request)
        if isinstance(payload, httpx.Response):
            return payload
        return self.before(path, payload) or self._act(path, payload, key)

    # -- what anybody may read ---------------------------------------------------------------------------

    def _read(self, path: str) -> httpx.Response:
        if path == "/directory":
            meta: dict[str, Any] = {"termsOfService": self.terms} if self.terms else {}
            meta |= {"externalAccountRequired": True} if self.external else {}
            names = {"newNonce": "/nonce", "newAccount": "/new-account", "newOrder": "/new-order"}
            names |= {"renewalInfo": "/ari"} if self.has_ari else {}
            return httpx.Response(200, json={"meta": meta} | {key: self.url(to) for key, to in names.items()})
        if path == "/nonce":
            return httpx.Response(200)
        assert path.startswith("/ari/"), path
        self.looks.append(self.now())
        leaf = x509.load_pem_x509_certificates(self.chains[path.removeprefix("/ari/")])[0]
        begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        if self.window is None:
            starts, stops = ends - (ends - begins) / 3, ends - (ends - begins) / 4
        else:
            starts, stops = self.window(begins, ends)
        window = {"start": rfc3339(starts), "end": rfc3339(stops)}
        return httpx.Response(200, json={"suggestedWindow": window}, headers={"Retry-After": "21600"})

    # -- what is signed ----------------------------------------------------------------------------------

    def _opened(self, request: httpx.Request) -> tuple[Any, dict[str, Any]]:
        """The payload (None for a POST-as-GET) and the key of who signed; a response where that is wrong."""
        assert request.headers["Content-Type"] == "application/jose+json"
        assert request.headers["User-Agent"].startswith("trio-lb/")
        body = json.loads(request.content)
        head = json.loads(from_base64url(body["protected"]))
        assert head["url"] == str(request.url)
        assert head["alg"] == "ES256"
        if self.bad_nonces or head["nonce"] not in self.nonces:
            self.bad_nonces -= 1
            return problem("badNonce"), {}
        self.nonces.remove(head["nonce"])
        if "kid" in head and head["kid"] not in self.accounts:
            return problem("accountDoesNotExist"), {}
        key = self.accounts[head["kid"]] if "kid" in head else head["jwk"]
        verify(key, f"{body['protected']}.{body['payload']}".encode(), from_base64url(body["signature"]))
        return (json.loads(from_base64url(body["payload"])) if body["payload"] else None), key

    def _act(self, path: str, payload: Any, key: dict[str, Any]) -> httpx.Response:
        if path == "/new-account":
            return self._account(payload, key)
        if path.startswith(ACCOUNT):
            self.contacts[self.url(path)] = payload["contact"]
            return httpx.Response(200, json={})
        if path == "/new-order":
            return self._new_order(payload)
        _, kind, number = path.split("/")
        order = self.orders[number]
        return getattr(self, f"_{kind}")(number, order, payload, key)  # type: ignore[no-any-return]

    def _account(self, payload: Any, key: dict[str, Any]) -> httpx.Response:
        if self.terms and not payload.get("termsOfServiceAgreed"):
            return problem("userActionRequired")
        if self.external:
            binding = payload["externalAccountBinding"]
            head = json.loads(from_base64url(binding["protected"]))
            assert head["url"] == self.url("/new-account")
            assert json.loads(from_base64url(binding["payload"])) == key
            if from_base64url(binding["signature"]) != mac(binding, self.external[head["kid"]]):
                return problem("unauthorized", "the binding is wrong")
        url = next((url for url, known in self.accounts.items() if known == key), None)
        status = 200 if url else 201
        url = url or self.url(f"{ACCOUNT}{len(self.accounts) + 1}")
        self.accounts[url] = key
        self.contacts[url] = payload["contact"]
        return httpx.Response(status, json={"status": "valid"}, headers={"Location": url})

    def _new_order(self, payload: Any) -> httpx.Response:
        self.ordered.append((self.now(), payload))
        [identifier] = payload["identifiers"]
        number = str(next(self.numbers))
        is_valid = self.authorization_is_valid
        self.orders[number] = {
            "name": identifier["value"],
            "status": "ready" if is_valid else "pending",
            "authorization": "valid" if is_valid else "pending",
            "token": base64url(sha256(number.encode()).digest()),
            "error": None,
            "polls": self.pending_polls,
        }
        return httpx.Response(
            201, json=self._shown(number), headers={"Location": self.url(f"/order/{number}")}
        )

    def _shown(self, number: str) -> dict[str, Any]:
        shown = {
            "status": self.orders[number]["status"],
            "authorizations": [self.url(f"/authorization/{number}")],
            "finalize": self.url(f"/finalize/{number}"),
        }
        return shown | {"certificate": self.url(f"/certificate/{number}")}

    def _authorization(self, number: str, order: Any, payload: Any, key: Any) -> httpx.Response:
        assert payload is None
        status = order["authorization"]
        if status != "pending" and order["polls"] > 0:
            order["polls"] -= 1
            status = "pending"
        challenges = [
            {"type": kind, "url": self.url(f"/challenge/{number}"), "token": order["token"]}
            | ({"error": order["error"]} if order["error"] else {})
            for kind in self.challenges
        ]
        fields = {"Retry-After": self.poll_retry_after} if self.poll_retry_after else {}
        return httpx.Response(200, json={"status": status, "challenges": challenges}, headers=fields)

    def _challenge(self, number: str, order: Any, payload: Any, key: dict[str, Any]) -> httpx.Response:
        assert payload == {}
        order["error"] = self.wrong(order["name"]) or self._proof_is_wrong(order, key)
        order["authorization"] = "invalid" if order["error"] else "valid"
        order["status"] = "invalid" if order["error"] else "ready"
        return httpx.Response(200, json={})

    def _proof_is_wrong(self, order: Any, key: dict[str, Any]) -> dict[str, Any] | None:
        """What we, as this authority, see of the proof: what the data plane would answer."""
        expected = f"{order['token']}.{thumbprint(key)}"
        answers = Answers(self.folder)
        if answers.http_answer(f"{order['name'].upper()}:80", order["token"]) == expected.encode():
            self.proofs_seen.append("http-01")
            return None
        if pair := answers.alpn_certificate(order["name"]):
            leaf = x509.load_pem_x509_certificate(pair[0])
            identifier = leaf.extensions.get_extension_for_oid(ACME_IDENTIFIER)
            assert identifier.critical
            assert isinstance(identifier.value, x509.UnrecognizedExtension)
            assert identifier.value.value[2:] == sha256(expected.encode()).digest()
            self.proofs_seen.append("tls-alpn-01")
            return None
        return {"type": f"{URN}unauthorized", "detail": "no proof", "status": 403}

    def _finalize(self, number: str, order: Any, payload: Any, key: Any) -> httpx.Response:
        request = x509.load_der_x509_csr(from_base64url(payload["csr"]))
        assert order["status"] == "ready"
        assert request.is_signature_valid
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [order["name"]]
        order["chain"] = self._issue(order["name"], request.public_key())
        order["status"] = "valid"
        return httpx.Response(200, json=self._shown(number))

    def _issue(self, name: str, public_key: Any) -> bytes:
        made = certificate(name, public_key, self.key, self.now(), self.lifetime)
        leaf = x509.load_pem_x509_certificate(made)
        self.chains[ari_id(leaf)] = made
        self.issued.append((self.now(), name))
        return made

    def _certificate(self, number: str, order: Any, payload: Any, key: Any) -> httpx.Response:
        assert payload is None
        links = {"Link": f'<{self.url("/other-chain")}>;rel="alternate"'}
        return httpx.Response(200, content=order["chain"], headers=links)

    def _order(self, number: str, order: Any, payload: Any, key: Any) -> httpx.Response:
        assert payload is None
        return httpx.Response(200, json=self._shown(number) | {"error": order["error"]})


def certificate(
    name: str, public_key: Any, key: ec.EllipticCurvePrivateKey, now: float, lifetime: float = 90 * DAY
) -> bytes:
    """A certificate for the name, signed by the key, as PEM."""
    begins = datetime.fromtimestamp(int(now), UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of tests")])
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(seconds=lifetime))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def ari_id(leaf: x509.Certificate) -> str:
    """Another way to the id than ours: from the DER of the serial number."""
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer is not None
    number = f"{leaf.serial_number:x}"
    serial = bytes.fromhex(number.zfill(len(number) + len(number) % 2))
    serial = b"\0" + serial if serial[0] & 0x80 else serial
    return f"{base64url(issuer)}.{base64url(serial)}"


def rfc3339(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")


def verify(jwk: dict[str, Any], data: bytes, signature: bytes) -> None:
    x, y = (int.from_bytes(from_base64url(jwk[axis]), "big") for axis in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    assert len(signature) == 64
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        public.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise AssertionError("the signature is wrong") from None


def thumbprint(jwk: dict[str, Any]) -> str:
    text = json.dumps({key: jwk[key] for key in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64url(sha256(text.encode()).digest())


def mac(binding: dict[str, str], secret: bytes) -> bytes:
    return digest(secret, f"{binding['protected']}.{binding['payload']}".encode(), "sha256")


class Pieces(httpx.AsyncByteStream):
    """A body as it comes from a socket; httpx takes that of a Response that was made here as read."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), 1000):
            yield self._content[start : start + 1000]


def from_socket(response: httpx.Response) -> httpx.Response:
    """The response as a client gets it from a socket."""
    if isinstance(response.stream, httpx.SyncByteStream):
        return httpx.Response(response.status_code, headers=response.headers, stream=Pieces(response.content))
    return response


async def endless(size: int = 1 << 16) -> AsyncIterator[bytes]:
    """A body without an end."""
    while True:
        await trio.lowlevel.checkpoint()
        yield b"x" * size


async def silent() -> AsyncIterator[bytes]:
    """A body that begins and then stays away."""
    yield b"{"
    await trio.sleep_forever()
