"""Which token a request has, or which certificate, and which address it comes from."""

from typing import Any

from quart import Request

from admin.protocol.problems import Problem
from admin.security.keyring import ANONYMOUS_ADMIN, Keyring
from lb.config.tokens import Token
from lb.core.client_address import peer_of
from lb.core.secured import Secured

SECURED = "secured"
"""The key in a connection's state under which its TLS is (`lb.core.secured`)."""


async def token_of(request: Request, keyring: Keyring) -> Token | None:
    """The token that the request has, or its connection's certificate; None where it has none that is known.

    Where there is a token the certificate does not count. An unknown token takes as long as a known one, so
    the time tells nothing about the tokens.
    """
    if not keyring.is_needed:
        return ANONYMOUS_ADMIN
    await keyring.refresh()
    certificate = _certificate(request)
    if certificate is not None and "Authorization" not in request.headers:
        from lb.tls.client_subject import owners_of

        return keyring.of_certificate(owners_of(certificate))
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = keyring.find(given.strip())
    return token if scheme.lower() == "bearer" else None


def secured(request: Request) -> Secured | None:
    """The TLS of the request's connection; None where it has none."""
    found: Secured | None = request.scope.get("state", {}).get(SECURED)
    return found


def _certificate(request: Request) -> bytes | None:
    there = secured(request)
    return None if there is None else there.certificate


def unauthorized(request: Request) -> Problem:
    """401. The advice is for the client alone: the audit shows the title, which is the text of the error."""
    problem = Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="lb"'})
    problem.detail = "send it as `Authorization: Bearer TOKEN`"
    certificate = _certificate(request)
    if certificate is not None and "Authorization" not in request.headers:
        from lb.tls.client_subject import subject_of

        problem.detail = f"no line of admin.tokens_file is for the certificate of {subject_of(certificate)}"
    return problem


def peer(request: Request) -> str:
    """The address that the request came from; "unix" for a Unix socket."""
    client: Any = request.scope.get("client")
    return peer_of(None if client is None or not client[0] else tuple(client[:2]))[1]
