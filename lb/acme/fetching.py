"""One request to an authority: bounded in time and size, and its answer read with suspicion.

An authority is a foreign machine like any other. Its answers may be slow, huge, or no JSON at all; each of
these is a sentence and never a traceback.
"""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httpx
import trio

from lb.about import VERSION
from lb.acme.acme_errors import AcmeError, Nonsense, Unreachable, shown
from lb.core.renewal import Fault

MOST_BYTES = 256 * 1024
"""The longest answer is a chain of certificates: some 2 KiB for each."""
IDENTITY = {"User-Agent": f"trio-lb/{VERSION}", "Accept-Encoding": "identity"}


class Waits(NamedTuple):
    """How long each wait may last, in seconds."""

    answer: float = 30.0  # one request to an authority, with its whole answer
    validation: float = 180.0  # until an authority has decided one challenge
    issuance: float = 300.0  # from the request for a certificate until it is there
    shortest_poll: float = 1.0  # between two questions whether something has been decided
    longest_poll: float = 30.0
    trial: float = 10.0  # the rehearsal of one challenge
    lock: float = 900.0  # for the lock of the folder, until that is told as a failure
    lock_again: float = 5.0  # until it is tried again
    look: float = 60.0  # between two looks at what others have done in the folder


class Reply(NamedTuple):
    """An answer of an authority."""

    authority: str
    status: int
    fields: httpx.Headers
    body: bytes

    def table(self) -> dict[str, object]:
        """The JSON object that the answer is; Nonsense where it is something else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Nonsense(f"{self.authority} answers {self.status} with something that is no JSON object")
        return found

    def hold(self, now: float) -> float | None:
        """Its Retry-After in seconds, whatever the notation; None where there is none that can be read."""
        text = self.fields.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - now)
        except (ValueError, OverflowError):
            return None


async def read_within(
    wanted: AbstractAsyncContextManager[httpx.Response], most: int
) -> tuple[httpx.Response, bytes]:
    """The response and its body, of which more than `most` bytes mean that it was cut."""
    data = bytearray()
    with trio.CancelScope() as scope:
        async with wanted as response:
            async for piece in response.aiter_raw():
                data += piece
                if len(data) > most:
                    scope.cancel()  # not `break`: httpx's iterators would be left open within each other
    return response, bytes(data)


class Fetcher:
    """Requests to the authority of this directory, by a client that its owner closes."""

    def __init__(self, client: httpx.AsyncClient, directory: str, waits: Waits) -> None:
        self.authority = urlsplit(directory).hostname or directory
        self._client = client
        self._waits = waits

    async def fetch(
        self, method: str, url: str, body: bytes | None = None, fields: Mapping[str, str] | None = None
    ) -> Reply:
        """The answer, whatever its status. Unreachable, or Nonsense where it is longer than MOST_BYTES."""
        try:
            with trio.fail_after(self._waits.answer):
                return await self._fetch(method, url, body, fields or {})
        except trio.TooSlowError as exc:
            raise Unreachable(f"{self.authority} did not answer within {self._waits.answer:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
            raise Unreachable(f"{self.authority} cannot be reached: {reason_of(exc)}") from exc

    async def _fetch(self, method: str, url: str, body: bytes | None, fields: Mapping[str, str]) -> Reply:
        wanted = self._client.stream(method, url, content=body, headers={**IDENTITY, **fields})
        response, data = await read_within(wanted, MOST_BYTES)
        if len(data) > MOST_BYTES:
            raise Nonsense(f"{self.authority} answers with more than {MOST_BYTES} bytes")
        return Reply(self.authority, response.status_code, response.headers, data)


def reason_of(error: Exception) -> str:
    """Why a request got no answer. An error of httpx may have no words; what it comes from has them."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ssl.SSLCertVerificationError):
            return f"its certificate is refused, {at.verify_message}; tls.acme.ca names who vouches for it"
        if said := shown(at):
            return said
        at = at.__cause__ or at.__context__
    return type(error).__name__


def text_in(table: Mapping[str, object], key: str, authority: str) -> str:
    """The text at the key of an answer; Nonsense where there is none."""
    value = table.get(key)
    if not isinstance(value, str):
        raise Nonsense(f"{authority} answers without `{key}`, which RFC 8555 asks for")
    return value


def url_in(table: Mapping[str, object], key: str, authority: str) -> str:
    return checked_url(text_in(table, key, authority), authority)


def tables_in(table: Mapping[str, object], key: str, authority: str) -> list[dict[str, object]]:
    value = table.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Nonsense(f"{authority} answers without `{key}`, which RFC 8555 asks for")
    return cast("list[dict[str, object]]", value)


def checked_url(url: str, authority: str) -> str:
    """The URL; Nonsense where an authority names one that is not https (RFC 8555 section 6.1)."""
    if not url.startswith("https://"):
        raise Nonsense(f"{authority} names {shown(url)!r}, which is no https URL")
    return url


OpenClient = Callable[[str | None], AbstractAsyncContextManager[httpx.AsyncClient]]
"""`open_client`, or what stands for it in tests."""


@asynccontextmanager
async def open_client(ca: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client that believes the certificates in this file, or those that come with the program.

    It follows no redirects and heeds no variables of the environment. AcmeError where the file is none.
    """
    try:
        context = await trio.to_thread.run_sync(_context, ca)  # to read all authorities takes 20 ms
    except (OSError, ssl.SSLError) as exc:
        raise AcmeError(f"tls.acme.ca: {ca} cannot be read: {exc.strerror or exc}", Fault.SETTINGS) from exc
    async with httpx.AsyncClient(verify=context, trust_env=False, timeout=None) as client:
        yield client


def _context(ca: str | None) -> ssl.SSLContext:
    context = (
        httpx.create_ssl_context(trust_env=False) if ca is None else ssl.create_default_context(cafile=ca)
    )
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the default of 3.13, which many private roots fail
    return context
