"""Which token a request has, and which address it comes from."""

from typing import Any

from quart import Request

from admin.protocol.problems import Problem
from admin.security.keyring import ANONYMOUS_ADMIN, Keyring
from lb.config.tokens import Token
from lb.core.client_address import peer_of


async def token_of(request: Request, keyring: Keyring) -> Token | None:
    """The token that the request has; None where it has none that is known.

    An unknown token takes as long as a known one, so the time tells nothing about the tokens.
    """
    if not keyring.is_needed:
        return ANONYMOUS_ADMIN
    await keyring.refresh()
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = keyring.find(given.strip())
    return token if scheme.lower() == "bearer" else None


def unauthorized() -> Problem:
    """401. The advice is for the client alone: the audit shows the title, which is the text of the error."""
    problem = Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="lb"'})
    problem.detail = "send it as `Authorization: Bearer TOKEN`"
    return problem


def peer(request: Request) -> str:
    """The address that the request came from; "unix" for a Unix socket."""
    client: Any = request.scope.get("client")
    return peer_of(None if client is None or not client[0] else tuple(client[:2]))[1]
