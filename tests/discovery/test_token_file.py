"""A token in a file, which is read in a thread, so these tests run on real time."""

import os
from pathlib import Path

import pytest

from lb.discovery.backend_source import SourceFailed
from lb.discovery.http_lists import HttpSource
from lb.discovery.token_file import read_token
from tests.discovery.test_http_lists import Inventory
from tests.kit.sources import running_source


@pytest.mark.parametrize("what", [b"", b" \n", b"a\nb", b"\xff", b"x" * 70_000])
async def test_what_is_no_token_is_refused_and_not_repeated(tmp_path: Path, what: bytes) -> None:
    (tmp_path / "token").write_bytes(what)
    with pytest.raises(SourceFailed, match=r"/token: there is no token in it$"):
        await read_token(str(tmp_path / "token"))


async def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match=r"/token: No such file"):
        await read_token(str(tmp_path / "token"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceFailed, match=r"/pipe: there is no token"):
        await read_token(str(tmp_path / "pipe"))
    assert await read_token(None) is None


async def test_the_token_is_read_anew_and_shown(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    async with Inventory().running() as server:
        asked = HttpSource(f"{server.url}/web?dc=a", every=0.01, token_file=str(token))
        async with running_source(asked) as told:
            await told.until(1)
            token.write_text("two\n")
            while server.heard[-1].request["Authorization"] != "Bearer two":
                await told.until(len(told.sets) + 1)
            assert server.heard[0].request["Authorization"] == "Bearer one"
            token.write_text("")
            assert await told.until_failed() == f"{token}: there is no token in it"
