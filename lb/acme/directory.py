"""One authority: its resources, its nonces, our account, and requests that the account signs.

A directory is opened for one attempt and then forgotten: nothing in it is older than that. Requests are made
one at a time, so one nonce is kept, which each answer renews (RFC 8555 section 6.5).
"""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from lb.acme.acme_errors import (
    BAD_NONCE,
    FULL_OF_ORDERS,
    AcmeError,
    Nonsense,
    Refused,
    refused,
)
from lb.acme.fetching import Fetcher, Reply, checked_url, url_in
from lb.acme.jose import bound, public_jwk, signed
from lb.core.renewal import HOUR, Fault

MOST_NONCES = 5
"""How often a request is sent when the authority does not take its nonce."""
HELD = frozenset((429, 503))
"""Statuses whose Retry-After says for how long the authority does not want to be asked."""
JOSE = {"Content-Type": "application/jose+json"}


class Resources(NamedTuple):
    """Where the authority has what (RFC 8555 section 7.1.1); `renewal_info` and `terms` may be empty."""

    new_nonce: str
    new_account: str
    new_order: str
    renewal_info: str
    terms: str
    wants_external: bool


class Subscriber(NamedTuple):
    """What we tell an authority about ourselves. `external` are key id and secret of an account there."""

    contact: tuple[str, ...]
    agrees: bool
    external: tuple[str, bytes] | None


class Directory:
    """The authority at this URL. `name` and `port` are what its order is about, for sentences."""

    def __init__(self, url: str, fetcher: Fetcher, now: Callable[[], float], name: str, port: str) -> None:
        self.url = url
        self.authority = fetcher.authority
        self._fetcher = fetcher
        self._now = now
        self._about = (name, port)
        self._resources: Resources | None = None
        self._nonce: str | None = None
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._account = ""

    async def resources(self) -> Resources:
        """What the directory lists; it is asked for once."""
        if self._resources is None:
            table = (await self.get(self.url)).table()
            meta = table.get("meta")
            known = meta if isinstance(meta, dict) else {}
            self._resources = Resources(
                new_nonce=url_in(table, "newNonce", self.authority),
                new_account=url_in(table, "newAccount", self.authority),
                new_order=url_in(table, "newOrder", self.authority),
                renewal_info=url_in(table, "renewalInfo", self.authority) if "renewalInfo" in table else "",
                terms=str(known.get("termsOfService") or ""),
                wants_external=known.get("externalAccountRequired") is True,
            )
        return self._resources

    # -- our account -------------------------------------------------------------------------------------

    def sign_as(self, key: ec.EllipticCurvePrivateKey, account: str) -> None:
        """Sign from now on with the key of the account that has this URL."""
        self._key, self._account = key, account

    async def register(self, key: ec.EllipticCurvePrivateKey, us: Subscriber) -> str:
        """The URL of the account with this key, which is made if there is none; sign with it from now on."""
        resources = await self.resources()
        self._may_register(resources, us)
        payload: dict[str, object] = {"contact": [f"mailto:{each}" for each in us.contact]}
        if resources.terms:
            payload["termsOfServiceAgreed"] = True
        if us.external is not None:
            payload["externalAccountBinding"] = bound(key, resources.new_account, *us.external)
        self.sign_as(key, "")
        reply = await self.post(resources.new_account, payload)
        url = checked_url(reply.fields.get("Location", ""), self.authority)
        self.sign_as(key, url)
        return url

    async def tell_contact(self, contact: tuple[str, ...]) -> None:
        """Change the addresses of the account that signs."""
        await self.post(self._account, {"contact": [f"mailto:{each}" for each in contact]})

    def _may_register(self, resources: Resources, us: Subscriber) -> None:
        if resources.terms and not us.agrees:
            raise AcmeError(
                f"{self.authority} gives certificates only to those who agree to its terms, "
                f"{resources.terms}: read them and set tls.acme.terms_agreed = true",
                Fault.SETTINGS,
            )
        if resources.wants_external and us.external is None:
            raise AcmeError(
                f"{self.authority} wants an account that you have with it: set tls.acme.eab to the key id "
                "and key that it gave you",
                Fault.SETTINGS,
            )

    # -- requests ----------------------------------------------------------------------------------------

    async def get(self, url: str) -> Reply:
        """What is there for everybody; an AcmeError where the authority refuses."""
        return self._judged(await self._fetcher.fetch("GET", url))

    async def post(self, url: str, payload: Mapping[str, object] | None = None) -> Reply:
        """Send this, signed; without a payload it reads the resource (POST-as-GET, RFC 8555 section 6.3).

        An AcmeError where the authority refuses.
        """
        body = b"" if payload is None else json.dumps(payload).encode()
        for _ in range(MOST_NONCES):
            reply = await self._send(url, body)
            try:
                return self._judged(reply)
            except Refused as exc:
                if exc.kind != BAD_NONCE:
                    raise
                refusal = exc
        raise refusal

    async def _send(self, url: str, body: bytes) -> Reply:
        assert self._key is not None, "who signs is said before"
        who: dict[str, object] = {"kid": self._account} if self._account else {"jwk": public_jwk(self._key)}
        nonce = await self._fresh_nonce()
        reply = await self._fetcher.fetch(
            "POST", url, signed(self._key, {"nonce": nonce, "url": url, **who}, body), JOSE
        )
        self._nonce = reply.fields.get("Replay-Nonce")
        return reply

    async def _fresh_nonce(self) -> str:
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            resources = await self.resources()
            reply = self._judged(await self._fetcher.fetch("HEAD", resources.new_nonce))
            nonce = reply.fields.get("Replay-Nonce")
        if not nonce:
            raise Nonsense(f"{self.authority} gives out no nonce")
        return nonce

    def _judged(self, reply: Reply) -> Reply:
        """The answer of a request that has worked."""
        if 200 <= reply.status < 300:
            return reply
        if reply.status < 400:
            raise Nonsense(f"{self.authority} answers {reply.status}, where ACME knows no redirects")
        try:
            problem = reply.table()
        except Nonsense as exc:
            why = f"{self.authority} answers {reply.status} without a reason"
            raise AcmeError(why, Fault.AUTHORITY, self._hold(reply, {})) from exc
        raise self.refusal(problem, self._hold(reply, problem))

    def _hold(self, reply: Reply, problem: Mapping[str, object]) -> float | None:
        is_full = str(problem.get("type", "")).endswith(f":{FULL_OF_ORDERS}")
        told = self.hold(reply) if is_full or reply.status in HELD else None
        return HOUR if is_full and told is None else told

    def hold(self, reply: Reply) -> float | None:
        """The seconds of its Retry-After."""
        return reply.hold(self._now())

    def refusal(self, problem: Mapping[str, object], hold: float | None = None) -> Refused:
        """The error of a problem document of this authority."""
        name, port = self._about
        return refused(problem, self.authority, name, port, hold)
