"""The folder: who may read it, that its files are whole, and that one owner has the lock."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lb.acme.answers import CHALLENGE_PATH, AlpnAnswer, Answers, HttpAnswer, alpn_file, http_file
from lb.acme.storage import Account, Origin, Pair, Storage, StorageError
from lb.core.renewal import Failures, Suggestion, Window

NAME = "www.example.com"
KEY = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
CHAIN = b"-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"
DIRECTORY = "https://ca.test:14000/dir"
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(tmp_path / "deep" / "acme")
    storage.prepare()
    return storage


def modes(folder: Path) -> set[tuple[bool, int]]:
    found = [folder, *folder.rglob("*")]
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in found}


def test_what_is_kept_is_found(storage: Storage) -> None:
    account = Account(directory=DIRECTORY, key="key", url="https://ca.test/1", contact=("a@b",))
    origin = Origin(directory=DIRECTORY, suggestion=Suggestion(Window(1.0, 3.0), 2.0), look_at=4.0)
    failures = Failures(times=(1.0, 2.0), in_a_row=2, again_at=3.0, held={DIRECTORY: 4.0}, why="because")
    storage.keep_account(account)
    storage.keep_certificate(NAME, Pair(CHAIN, KEY), origin)
    storage.keep_failures(NAME, failures)
    again = Storage(storage.folder)
    again.prepare()
    assert again.account(DIRECTORY) == account
    assert again.certificate(NAME) == Pair(CHAIN, KEY)
    assert again.origin(NAME) == origin
    assert again.failures(NAME) == failures


def test_what_was_never_kept_is_empty(storage: Storage) -> None:
    assert storage.account(DIRECTORY) is None
    assert storage.certificate(NAME) is None
    assert storage.mark(NAME) is None
    assert storage.origin(NAME) == Origin()
    assert storage.failures(NAME) == Failures()
    storage.keep_failures(NAME, Failures())
    assert os.listdir(storage.folder / "failures") == []


def test_folders_and_files_are_for_their_owner_alone(storage: Storage) -> None:
    before = os.umask(0)
    try:
        storage.keep_account(Account(directory=DIRECTORY, key="key"))
        storage.keep_certificate(NAME, Pair(CHAIN, KEY), Origin())
        storage.keep_failures(NAME, Failures(times=(1.0,)))
        storage.keep_http_answer(TOKEN, HttpAnswer(name=NAME, body="body"))
        assert storage.lock.take()
    finally:
        os.umask(before)
    assert modes(storage.folder) == {(True, 0o700), (False, 0o600)}


@pytest.mark.parametrize("mode", [0o701, 0o720, 0o755, 0o777])
def test_a_folder_that_others_could_use_is_refused(storage: Storage, mode: int) -> None:
    folder = storage.folder / "certificates"
    folder.chmod(mode)
    with pytest.raises(StorageError, match=f"{folder} can be read or changed by others: chmod 700 {folder}"):
        storage.prepare()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/acme cannot be made: Not a directory"):
        Storage(tmp_path / "file" / "acme").prepare()


def test_the_mark_changes_when_a_certificate_is_replaced(storage: Storage) -> None:
    storage.keep_certificate(NAME, Pair(CHAIN, KEY), Origin())
    first = storage.mark(NAME)
    storage.keep_origin(NAME, Origin(look_at=1.0))
    assert storage.mark(NAME) == first is not None
    storage.keep_certificate(NAME, Pair(CHAIN, KEY), Origin())
    assert storage.mark(NAME) != first


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[]", b'{"format": "trio-lb acme account", "version": 2}']
)
def test_a_broken_file_is_named_and_kept(storage: Storage, content: bytes) -> None:
    path = storage.account_file(DIRECTORY)
    path.write_bytes(content)
    with pytest.raises(StorageError, match=f"{path} is not what this program has written"):
        storage.account(DIRECTORY)
    assert path.read_bytes() == content


def test_a_file_that_is_too_long_is_not_read_whole(storage: Storage) -> None:
    storage.certificate_file(NAME).write_bytes(b"x" * (1 << 21))
    with pytest.raises(StorageError, match="it is larger than 1048576 bytes"):
        storage.certificate(NAME)


def test_a_write_that_fails_leaves_the_old_file(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.keep_certificate(NAME, Pair(CHAIN, KEY), Origin())

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    path = storage.certificate_file(NAME)
    with pytest.raises(StorageError, match=f"{path} cannot be written: No space left on device"):
        storage.keep_certificate(NAME, Pair(CHAIN + CHAIN, KEY), Origin())
    assert storage.certificate(NAME) == Pair(CHAIN, KEY)
    assert len(os.listdir(path.parent)) == 2


def test_what_a_killed_writer_has_left_is_removed(storage: Storage) -> None:
    left = storage.folder / "certificates" / f".{NAME}.pem.abcdefgh"
    left.write_bytes(KEY)
    storage.keep_certificate(NAME, Pair(CHAIN, KEY), Origin())
    assert not left.exists()


def test_accounts_of_two_directories_of_one_host_are_two(storage: Storage) -> None:
    for path in ("a", "b"):
        storage.keep_account(Account(directory=f"https://ca.test/{path}", key=path))
    assert {storage.account(f"https://ca.test/{path}").key for path in ("a", "b")} == {"a", "b"}  # type: ignore[union-attr]


# -- the lock ----------------------------------------------------------------------------------------------


def test_one_has_the_lock_until_it_gives_it_back(storage: Storage) -> None:
    other = Storage(storage.folder)
    assert storage.lock.take()
    assert not other.lock.take()
    assert other.lock.owner().startswith(f"process {os.getpid()} on ")
    storage.lock.give_back()
    assert other.lock.take()
    storage.lock.give_back()  # it has none, so nothing happens
    assert not storage.lock.take()


def test_the_lock_of_a_process_that_was_killed_is_free(storage: Storage) -> None:
    script = (
        "import sys, time; from lb.acme.storage import Storage; "
        "print(Storage(sys.argv[1]).lock.take(), flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(storage.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not storage.lock.take()
        assert storage.lock.owner().startswith(f"process {other.pid} on ")
        other.kill()
    assert storage.lock.take()


def test_a_lock_whose_file_was_removed_is_no_lock(storage: Storage) -> None:
    assert storage.lock.take()
    (storage.folder / "lock").unlink()
    other = Storage(storage.folder)
    assert other.lock.take()  # of the file that is there now
    third = Storage(storage.folder)
    assert not third.lock.take()


# -- answers of challenges ---------------------------------------------------------------------------------


def test_any_balancer_on_the_folder_answers(storage: Storage) -> None:
    storage.keep_http_answer(TOKEN, HttpAnswer(name=NAME, body="the proof"))
    storage.keep_alpn_answer(NAME, AlpnAnswer(chain="chain", key="key"))
    answers = Answers(storage.folder)
    for host in (NAME, f"{NAME}:80", NAME.upper(), f"{NAME}."):
        assert answers.http_answer(host, TOKEN) == b"the proof"
    assert answers.alpn_certificate(NAME.upper()) == (b"chain", b"key")
    storage.forget_answer(http_file(storage.folder, TOKEN))
    storage.forget_answer(http_file(storage.folder, TOKEN))
    assert answers.http_answer(NAME, TOKEN) is None
    storage.forget_all_answers()
    assert answers.alpn_certificate(NAME) is None
    assert CHALLENGE_PATH.endswith("/")


def test_another_host_and_another_token_get_no_answer(storage: Storage) -> None:
    storage.keep_http_answer(TOKEN, HttpAnswer(name=NAME, body="the proof"))
    answers = Answers(storage.folder)
    assert answers.http_answer("api.example.com", TOKEN) is None
    assert answers.http_answer(NAME, TOKEN[:-1]) is None
    assert answers.http_answer("", TOKEN) is None


@pytest.mark.parametrize(
    "word",
    [
        *("", ".", "..", "../../lock", "a/../../lock", f"../http-{TOKEN}"),
        *("x" * 5000, "\0" * 20, "ä" * 20, "a" * 20 + "\n"),
    ],
)
def test_a_word_of_a_client_becomes_no_path(
    storage: Storage, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(self: Path, *arguments: object) -> None:
        raise AssertionError(f"{self} was opened")

    monkeypatch.setattr(Path, "open", opened)
    answers = Answers(storage.folder)
    assert answers.http_answer(NAME, word) is None
    assert answers.alpn_certificate(word) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"name": 3}', b'{"name": "www.example.com"}']
)
def test_an_answer_that_is_torn_is_none(storage: Storage, content: bytes) -> None:
    http_file(storage.folder, TOKEN).write_bytes(content)
    alpn_file(storage.folder, NAME).write_bytes(content)
    answers = Answers(storage.folder)
    assert answers.http_answer(NAME, TOKEN) is None
    assert answers.alpn_certificate(NAME) is None


def test_the_data_plane_asks_without_cryptography_and_httpx(tmp_path: Path) -> None:
    script = (
        "import sys; from lb.acme.answers import Answers; Answers('/nowhere').http_answer('a.b', 'x' * 30); "
        "assert not {'cryptography', 'httpx'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
