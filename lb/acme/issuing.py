"""One attempt to get a certificate for a name: the authorities in line, until one gives it.

What is at fault decides whether the next one is tried (`lb.core.renewal.Fault`): a name that does not lead
here would fail with all of them, and each counts such failures.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import httpx
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from lb.acme import ari, issued
from lb.acme.acme_errors import NO_ACCOUNT, AcmeError, Refused
from lb.acme.answers import HttpAnswer, alpn_file, http_file
from lb.acme.directory import Directory, Subscriber
from lb.acme.fetching import Fetcher, OpenClient, Waits, open_client
from lb.acme.jose import from_base64url, from_pem, new_key, to_pem
from lb.acme.ordering import Ordering, Wish
from lb.acme.proofs import alpn_answer
from lb.acme.storage import Account, Pair, Storage, StorageError
from lb.config import secret_file
from lb.core.renewal import Fault
from lb.errors import ConfigError
from lb.settings.acme_settings import AcmeSettings, directory_url

T = TypeVar("T")
PORTS = {"http-01": "port 80", "tls-alpn-01": "port 443"}


class InThread(Protocol):
    """Makes a call that blocks on the disk, where it blocks nothing else."""

    async def __call__(self, call: Callable[..., T], *arguments: object) -> T: ...


async def in_thread(call: Callable[..., T], *arguments: object) -> T:
    return await trio.to_thread.run_sync(call, *arguments)


class Surroundings(NamedTuple):
    """What an attempt needs of the world; tests hand in another one."""

    now: Callable[[], float]
    waits: Waits = Waits()
    open_client: OpenClient = open_client
    in_thread: InThread = in_thread


class NotIssued(Exception):
    """No authority gave a certificate. The message has a sentence of each; `held` is as in `Failures`."""

    def __init__(self, message: str, held: dict[str, float]) -> None:
        super().__init__(message)
        self.held = held


class Got(NamedTuple):
    """A certificate and the URL of the directory that it is from."""

    pair: Pair
    directory: str


class Issuing:
    """Makes attempts. Who calls it has the lock of the storage."""

    def __init__(self, settings: AcmeSettings, storage: Storage, around: Surroundings) -> None:
        self.line = tuple(directory_url(word) for word in settings.directory)
        self._externals = {
            directory_url(word): settings.external_account(word) for word in settings.directory
        }
        self._settings = settings
        self._storage = storage
        self._around = around

    async def issue(self, name: str, line: Sequence[str], replaced: Got | None) -> Got:
        """A certificate for the name from the first of these directories that gives one.

        NotIssued where none does; StorageError where the folder is at fault.
        """
        whys, held = [], {}
        for url in line:
            try:
                return Got(await self._issue_at(url, name, replaced), url)
            except AcmeError as exc:
                whys.append(str(exc))
                if exc.hold is not None:
                    held[url] = self._around.now() + exc.hold
                if exc.fault.is_the_same_everywhere:
                    break
        raise NotIssued(". Then: ".join(whys), held)

    async def told_window(self, got: Got) -> ari.Told:
        """What the authority of this certificate says of its renewal; an AcmeError where it does not say."""
        async with self._around.open_client(self._settings.ca) as client:
            facts = issued.read(got.pair)
            return await ari.told_window(self._directory(client, got.directory, facts.names[0]), facts.id)

    @asynccontextmanager
    async def show(self, name: str, token: str, proof: str) -> AsyncIterator[None]:
        """Have all balancers on the folder answer the challenge while this is entered."""
        if self._settings.challenge == "http-01":
            path = http_file(self._storage.folder, token)
            keep = partial(self._storage.keep_http_answer, token, HttpAnswer(name=name, body=proof))
        else:
            path = alpn_file(self._storage.folder, name)
            made = alpn_answer(name, proof, datetime.fromtimestamp(self._around.now(), UTC))
            keep = partial(self._storage.keep_alpn_answer, name, made)
        try:
            await self._around.in_thread(keep)
            yield
        finally:
            with suppress(StorageError):  # else the next attempt removes it
                self._storage.forget_answer(path)  # at once, in a cancellation too: one small file

    def _directory(self, client: httpx.AsyncClient, url: str, name: str) -> Directory:
        fetcher = Fetcher(client, url, self._around.waits)
        return Directory(url, fetcher, self._around.now, name, PORTS[self._settings.challenge])

    async def _issue_at(self, url: str, name: str, replaced: Got | None) -> Pair:
        is_its_own = replaced is not None and replaced.directory == url
        replaces = issued.read(replaced.pair).id if replaced is not None and is_its_own else ""
        wish = Wish(name, self._settings.challenge, replaces)
        async with self._around.open_client(self._settings.ca) as client:
            directory = self._directory(client, url, name)
            account, key = await self._account(url)
            ordering = Ordering(directory, key, self.show, self._around.waits)
            try:
                await self._sign_in(directory, account, key)
                return await ordering.certificate(wish)
            except Refused as exc:
                if exc.kind != NO_ACCOUNT:
                    raise
            await self._register(directory, account, key)  # with the same key
            return await ordering.certificate(wish)

    # -- our account -------------------------------------------------------------------------------------

    async def _account(self, url: str) -> tuple[Account, ec.EllipticCurvePrivateKey]:
        """What we have kept of our account there. A new key is kept before it is told to anybody."""
        account = await self._around.in_thread(self._storage.account, url)
        if account is None:
            account = Account(directory=url, key=to_pem(new_key()).decode())
            await self._around.in_thread(self._storage.keep_account, account)
        try:
            return account, from_pem(account.key.encode())
        except ValueError as exc:
            path = self._storage.account_file(url)
            raise StorageError(f"{path} has no key that can be read ({exc}). Mend it from a copy") from exc

    async def _sign_in(self, directory: Directory, account: Account, key: ec.EllipticCurvePrivateKey) -> None:
        if not account.url:
            await self._register(directory, account, key)
            return
        directory.sign_as(key, account.url)
        if account.contact != self._settings.contact:
            await directory.tell_contact(self._settings.contact)
            await self._keep(account, account.url)

    async def _register(
        self, directory: Directory, account: Account, key: ec.EllipticCurvePrivateKey
    ) -> None:
        external = await self._external(directory.url)
        us = Subscriber(self._settings.contact, self._settings.terms_agreed, external)
        await self._keep(account, await directory.register(key, us))

    async def _keep(self, account: Account, url: str) -> None:
        kept = Account(directory=account.directory, key=account.key, url=url, contact=self._settings.contact)
        await self._around.in_thread(self._storage.keep_account, kept)

    async def _external(self, url: str) -> tuple[str, bytes] | None:
        external = self._externals[url]
        if external is None:
            return None
        where = f"tls.acme.eab.key_file: {external.key_file}"
        try:
            data = await self._around.in_thread(secret_file.read, external.key_file, where)
            return external.key_id, from_base64url(data.decode())
        except ConfigError as exc:
            raise AcmeError(str(exc), Fault.SETTINGS) from exc
        except ValueError as exc:
            raise AcmeError(f"{where} does not hold a key in base64url", Fault.SETTINGS) from exc
