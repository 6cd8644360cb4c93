"""One order at one authority, from the wish to the certificate (RFC 8555 section 7.4).

    order -> authorisation -> challenge shown and answered -> request for a certificate -> chain

The proof of a challenge is shown by a context manager of the caller, for as long as the authority may look at
it. Only one certificate comes of an order: other chains that the authority offers are not asked for.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import trio
from cryptography.hazmat.primitives.asymmetric import ec

from lb.acme import issued
from lb.acme.acme_errors import ALREADY_REPLACED, AcmeError, Nonsense, Refused, Unreachable, shown
from lb.acme.answers import TOKEN
from lb.acme.directory import Directory
from lb.acme.fetching import Reply, Waits, checked_url, tables_in, text_in, url_in
from lb.acme.jose import base64url, new_key, to_pem
from lb.acme.proofs import key_authorization, signing_request
from lb.acme.storage import Pair
from lb.core.renewal import Fault

MOST_SILENCES = 3
"""How often in a row a question whether something is decided may stay without an answer."""
OPEN = frozenset(("pending", "processing"))

Show = Callable[[str, str, str], AbstractAsyncContextManager[None]]
"""Shows the proof for a name, a token and its key authorisation while it is entered."""


class Wish(NamedTuple):
    """What is to be ordered. `replaces` is the ARI id of the certificate before it, or empty."""

    name: str
    challenge: str
    replaces: str = ""


class Ordering:
    """Makes orders at an authority whose account signs already."""

    def __init__(
        self, directory: Directory, key: ec.EllipticCurvePrivateKey, show: Show, waits: Waits
    ) -> None:
        self._directory = directory
        self._authority = directory.authority
        self._account_key = key
        self._show = show
        self._waits = waits

    async def certificate(self, wish: Wish) -> Pair:
        """Order the certificate and see it through; an AcmeError says why there is none."""
        placed = await self._place(wish)
        url = checked_url(placed.fields.get("Location", ""), self._authority)
        order = placed.table()
        for authorization in self._authorizations(order):
            await self._prove(authorization, wish)
        with trio.move_on_after(self._waits.issuance):
            return await self._finish(url, wish.name)
        raise Unreachable(
            f"{self._authority} has proof of {wish.name}, but did not issue within {self._waits.issuance:g} s"
        )

    async def _place(self, wish: Wish) -> Reply:
        """A new order. That a certificate is said to be replaced already keeps nobody from another one."""
        resources = await self._directory.resources()
        order: dict[str, object] = {"identifiers": [{"type": "dns", "value": wish.name}]}
        if not wish.replaces or not resources.renewal_info:
            return await self._directory.post(resources.new_order, order)
        try:
            return await self._directory.post(resources.new_order, order | {"replaces": wish.replaces})
        except Refused as exc:
            if exc.kind not in (ALREADY_REPLACED, "malformed"):
                raise
            return await self._directory.post(resources.new_order, order)

    def _authorizations(self, order: Mapping[str, object]) -> list[str]:
        found = order.get("authorizations")
        if not isinstance(found, list) or len(found) != 1:  # one for each name, and there is one name
            raise Nonsense(f"{self._authority} answers an order for one name without one authorisation")
        return [checked_url(str(each), self._authority) for each in found]

    # -- the proof ---------------------------------------------------------------------------------------

    async def _prove(self, url: str, wish: Wish) -> None:
        """Have the authority convinced that the name leads here."""
        authorization = (await self._directory.post(url)).table()
        if authorization.get("status") == "valid":  # it has been, not long ago
            return
        challenge = self._challenge(authorization, wish)
        token = text_in(challenge, "token", self._authority)
        if not TOKEN.fullmatch(token):
            raise Nonsense(f"{self._authority} sends a token that is none: {shown(token)!r}")
        proof = key_authorization(token, self._account_key)
        async with self._show(wish.name, token, proof):
            await self._directory.post(url_in(challenge, "url", self._authority), {})
            with trio.move_on_after(self._waits.validation):
                self._judge(await self._decided(url), wish)
                return
        raise Unreachable(
            f"{self._authority} has not decided on {wish.name} within {self._waits.validation:g} s"
        )

    def _challenge(self, authorization: Mapping[str, object], wish: Wish) -> dict[str, object]:
        offered = tables_in(authorization, "challenges", self._authority)
        for challenge in offered:
            if challenge.get("type") == wish.challenge:
                return challenge
        kinds = ", ".join(shown(each.get("type")) for each in offered)
        raise AcmeError(
            f"{self._authority} offers no {wish.challenge} for {wish.name}, but {kinds}: "
            "set tls.acme.challenge",
            Fault.SETTINGS,
        )

    def _judge(self, authorization: Mapping[str, object], wish: Wish) -> None:
        if authorization.get("status") == "valid":
            return
        for challenge in tables_in(authorization, "challenges", self._authority):
            if isinstance(problem := challenge.get("error"), dict):
                raise self._directory.refusal(problem)
        status = shown(authorization.get("status"))
        raise AcmeError(
            f"{self._authority} did not believe our proof of {wish.name}: it is {status}, without a reason",
            Fault.NAME,
        )

    # -- the certificate ---------------------------------------------------------------------------------

    async def _finish(self, url: str, name: str) -> Pair:
        """Ask for the certificate with a new key, and fetch it."""
        key = new_key()
        order = await self._decided(url)
        if order.get("status") == "ready":
            request = {"csr": base64url(signing_request(name, key))}
            await self._directory.post(url_in(order, "finalize", self._authority), request)
            order = await self._decided(url, OPEN | {"ready"})
        if order.get("status") != "valid":
            raise self._unfinished(order, name)
        reply = await self._directory.post(url_in(order, "certificate", self._authority))
        return self._checked(reply.body, to_pem(key), name)

    def _unfinished(self, order: Mapping[str, object], name: str) -> AcmeError:
        if isinstance(problem := order.get("error"), dict):
            return self._directory.refusal(problem)
        status = shown(order.get("status"))
        return AcmeError(
            f"{self._authority} did not issue a certificate for {name}: the order is {status}, "
            "without a reason",
            Fault.AUTHORITY,
        )

    def _checked(self, chain: bytes, key: bytes, name: str) -> Pair:
        """The certificate, if it is what was ordered."""
        try:
            pair = Pair(issued.tidied(chain), key)
            facts = issued.read(pair)
        except ValueError as exc:
            raise Nonsense(f"{self._authority} has sent no certificate of our key for {name}: {exc}") from exc
        if facts.names != (name,):
            raise Nonsense(f"{self._authority} has sent a certificate for {facts.names} instead of {name}")
        return pair

    async def _decided(self, url: str, undecided: Collection[str] = OPEN) -> dict[str, object]:
        """The order or authorisation as soon as it is decided. The caller bounds how long that may take."""
        pause, silences = self._waits.shortest_poll, 0
        while True:
            told = None
            try:
                reply = await self._directory.post(url)
                silences, told = 0, self._directory.hold(reply)
                table = reply.table()
                if table.get("status") not in undecided:
                    return table
            except Unreachable:
                silences += 1
                if silences >= MOST_SILENCES:
                    raise
            await trio.sleep(self._bounded(pause if told is None else told))
            pause *= 2

    def _bounded(self, seconds: float) -> float:
        return min(max(seconds, self._waits.shortest_poll), self._waits.longest_poll)
