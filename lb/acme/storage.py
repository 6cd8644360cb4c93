"""The folder in which accounts and certificates outlive the program. Balancers that share it share them.

    lock                         who may make an order now (`lb.acme.folder_lock`)
    accounts/HOST-HASH.json      our account at one directory
    certificates/NAME.pem        the key, then the chain of NAME
    certificates/NAME.json       where it came from, and when it is to be renewed
    failures/NAME.json           what went wrong with NAME (`lb.core.renewal.Failures`)
    challenges/                  what is to be answered at this moment (`lb.acme.answers`)

Key and chain are one file, which is replaced whole: two files could be of two certificates after a crash.
Folders are for their owner alone (0700), and so are files (0600). A file that is not what it should be is an
error that names it; it is never written over.

Every call blocks on the disk: make it in a thread.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from lb.acme.answers import CHALLENGES, AlpnAnswer, HttpAnswer, alpn_file, http_file
from lb.acme.folder_lock import FolderLock
from lb.config import whole_file
from lb.core.renewal import NO_FAILURES, Failures, Suggestion
from lb.tls.pem_files import Stamp, stamp_of

T = TypeVar("T")
FOLDERS = ("accounts", "certificates", "failures", CHALLENGES)
LONGEST = 1 << 20
BY_OTHERS = stat.S_IWGRP | stat.S_IRWXO
KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----\n.*?\n-----END \1-----\n", re.DOTALL)


class StorageError(Exception):
    """The folder, or a file in it, cannot be used. The message names it and says what to do."""


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Our account at a directory: its key as PEM, its URL, empty until the authority has told it, and the
    addresses that the authority has of us.
    """

    format: Literal["trio-lb acme account"] = "trio-lb acme account"
    version: Literal[1] = 1
    directory: str
    key: str
    url: str = ""
    contact: tuple[str, ...] = ()


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of a certificate beside what stands in it.

    `directory` is where it came from, `suggestion` what the authority would like (ARI), `look_at` when to ask
    for that again.
    """

    format: Literal["trio-lb acme certificate"] = "trio-lb acme certificate"
    version: Literal[1] = 1
    directory: str = ""
    suggestion: Suggestion | None = None
    look_at: float = 0.0


class KeptFailures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: Literal["trio-lb acme failures"] = "trio-lb acme failures"
    version: Literal[1] = 1
    failures: Failures


class Pair(NamedTuple):
    """A certificate: the PEM of its chain, leaf first, and of its key."""

    chain: bytes
    key: bytes


class Storage:
    """The folder at this path."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.lock = FolderLock(self.folder / "lock")

    def prepare(self) -> None:
        """Make what is missing. StorageError where the folder cannot be used, or others could use it too."""
        for folder in (self.folder, *(self.folder / name for name in FOLDERS)):
            with _naming(folder, "made"):
                folder.mkdir(mode=0o700, parents=folder == self.folder, exist_ok=True)
                mode = folder.stat().st_mode
            if mode & BY_OTHERS:
                raise StorageError(f"{folder} can be read or changed by others: chmod 700 {folder}")
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise StorageError(f"{folder} cannot be read and changed by us: see whose it is")

    # -- certificates ------------------------------------------------------------------------------------

    def certificate_file(self, name: str) -> Path:
        return self.folder / "certificates" / f"{name}.pem"

    def certificate(self, name: str) -> Pair | None:
        """The certificate of this name; None where there is none. What is in the PEM is not looked at."""
        path = self.certificate_file(name)
        data = _read(path)
        if data is None:
            return None
        key = KEY.search(data)
        if key is None:
            raise _broken(path, "it has no private key")
        return Pair((data[: key.start()] + data[key.end() :]), key[0])

    def keep_certificate(self, name: str, pair: Pair, origin: Origin) -> None:
        """Put this certificate in the place of the one before."""
        _write(self.certificate_file(name), pair.key + pair.chain)
        self.keep_origin(name, origin)

    def mark(self, name: str) -> Stamp | None:
        """Something that differs when the certificate was replaced; None where there is none."""
        return stamp_of(str(self.certificate_file(name)))

    def origin(self, name: str) -> Origin:
        return _load(self.folder / "certificates" / f"{name}.json", Origin) or Origin()

    def keep_origin(self, name: str, origin: Origin) -> None:
        _write(self.folder / "certificates" / f"{name}.json", msgspec.json.encode(origin))

    # -- failures ----------------------------------------------------------------------------------------

    def failures(self, name: str) -> Failures:
        kept = _load(self._failures_file(name), KeptFailures)
        return NO_FAILURES if kept is None else kept.failures

    def keep_failures(self, name: str, failures: Failures) -> None:
        path = self._failures_file(name)
        if failures != NO_FAILURES or path.exists():
            _write(path, msgspec.json.encode(KeptFailures(failures=failures)))

    def _failures_file(self, name: str) -> Path:
        return self.folder / "failures" / f"{name}.json"

    # -- accounts ----------------------------------------------------------------------------------------

    def account_file(self, directory: str) -> Path:
        host = re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(directory).hostname or "")
        return self.folder / "accounts" / f"{host}-{sha256(directory.encode()).hexdigest()[:12]}.json"

    def account(self, directory: str) -> Account | None:
        return _load(self.account_file(directory), Account)

    def keep_account(self, account: Account) -> None:
        _write(self.account_file(account.directory), msgspec.json.encode(account))

    # -- challenges --------------------------------------------------------------------------------------

    def keep_http_answer(self, token: str, answer: HttpAnswer) -> None:
        """Have all balancers on this folder answer the token."""
        _write(http_file(self.folder, token), msgspec.json.encode(answer))

    def keep_alpn_answer(self, name: str, answer: AlpnAnswer) -> None:
        _write(alpn_file(self.folder, name), msgspec.json.encode(answer))

    def forget_answer(self, path: Path) -> None:
        with _naming(path, "removed"):
            path.unlink(missing_ok=True)

    def forget_all_answers(self) -> None:
        """Remove what a program that was killed has left. Only who has the lock may call this."""
        with _naming(self.folder / CHALLENGES, "read"):
            paths = [*(self.folder / CHALLENGES).iterdir()]
        for path in paths:
            self.forget_answer(path)


def _load(path: Path, kind: type[T]) -> T | None:
    """What is in the file; None where there is none."""
    data = _read(path)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise _broken(path, str(exc).replace("`", "")) from exc


def _read(path: Path) -> bytes | None:
    with _naming(path, "read"):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        with file:
            data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise _broken(path, f"it is larger than {LONGEST} bytes")
    return data


def _write(path: Path, data: bytes) -> None:
    with _naming(path, "written"):
        whole_file.sweep(path)
        whole_file.replace(path, data)


@contextmanager
def _naming(path: Path, done: str) -> Iterator[None]:
    """An OSError in the block becomes a StorageError."""
    try:
        yield
    except OSError as exc:
        raise StorageError(f"{path} cannot be {done}: {exc.strerror or exc}") from exc


def _broken(path: Path, why: str) -> StorageError:
    return StorageError(
        f"{path} is not what this program has written: {why}. "
        "Mend it from a copy, or move it away to begin anew"
    )
