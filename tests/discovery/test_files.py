"""Files as a source: whole sets only, whatever is done to the files."""

import json
import os
from pathlib import Path

from lb.discovery.files import FilesSource
from tests.kit.sources import running_source

EVERY = 0.01


def _write(path: Path, *items: object) -> None:
    path.write_text(json.dumps(items))


def _replace(path: Path, *items: object) -> None:
    """As careful writers do: another file takes the name."""
    other = path.with_suffix(".new")
    _write(other, *items)
    os.replace(other, path)


async def test_several_files_are_one_set_in_the_order_of_their_names(tmp_path: Path) -> None:
    _write(tmp_path / "2.json", {"url": "http://10.0.0.2:80"})
    _write(tmp_path / "1.json", {"id": "a", "url": "http://10.0.0.1:80", "weight": 3})
    async with running_source(FilesSource(f"{tmp_path}/*.json", every=EVERY)) as told:
        await told.until(1)
        assert [each.id for each in told.last.backends] == ["a", "10.0.0.2-80"]
        assert told["a"].weight == 3
        assert told.last.next_look == EVERY


async def test_a_replaced_file_is_read_and_an_unchanged_one_is_the_same_set(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    _write(path, {"url": "http://10.0.0.1:80"})
    async with running_source(FilesSource(str(path), every=EVERY)) as told:
        await told.until(3)
        assert told.sets[0] is told.sets[2]
        _replace(path, {"url": "http://10.0.0.2:80"})
        await told.until(len(told.sets) + 2)
        assert [*told.here] == ["10.0.0.2-80"]


async def test_an_emptied_list_is_an_empty_set(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    _write(path, {"url": "http://10.0.0.1:80"})
    async with running_source(FilesSource(str(path), every=EVERY)) as told:
        await told.until(1)
        _replace(path)
        await told.until(len(told.sets) + 2)
        assert told.here == {}


async def test_a_half_written_file_is_no_set(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    _write(path, {"url": "http://10.0.0.1:80"})
    async with running_source(FilesSource(str(path), every=EVERY)) as told:
        await told.until(1)
        path.write_text('["http://10.0.0.1:80", "http://10.')
        failure = await told.until_failed()
        assert failure.startswith(f"{path}: it is no list in JSON: ")
        assert all([*each.backends] for each in told.sets)


async def test_an_empty_file_is_no_set(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    path.write_bytes(b"")
    async with running_source(FilesSource(str(path), every=EVERY)) as told:
        assert "it is no list in JSON" in await told.until_failed()


async def test_one_bad_file_of_several_is_no_set(tmp_path: Path) -> None:
    _write(tmp_path / "1.json", {"url": "http://10.0.0.1:80"})
    (tmp_path / "2.json").write_text("{}")
    async with running_source(FilesSource(f"{tmp_path}/*.json", every=EVERY)) as told:
        assert "2.json" in await told.until_failed()
        assert told.sets == []


async def test_a_file_that_is_not_there_is_no_set(tmp_path: Path) -> None:
    async with running_source(FilesSource(f"{tmp_path}/web.json", every=EVERY)) as told:
        assert await told.until_failed() == f"{tmp_path}/web.json: there is no such file"


async def test_a_file_that_cannot_be_read_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "web.json").mkdir()
    async with running_source(FilesSource(f"{tmp_path}/web.json", every=EVERY)) as told:
        assert "cannot be read: Is a directory" in await told.until_failed()


async def test_an_id_in_two_files_is_the_first_ones(tmp_path: Path) -> None:
    for name in ("1", "2"):
        _write(tmp_path / f"{name}.json", {"id": "a", "url": f"http://10.0.0.{name}:80"})
    async with running_source(FilesSource(f"{tmp_path}/*.json", every=EVERY)) as told:
        await told.until(1)
        assert told["a"].url == "http://10.0.0.1:80"
        assert told.last.skipped == (f"{tmp_path}/2.json: a: another file has it already",)


async def test_prometheus_groups_are_read(tmp_path: Path) -> None:
    _write(tmp_path / "sd.json", {"targets": ["10.0.0.1:80", "10.0.0.2:80"], "labels": {"zone": "x"}})
    async with running_source(FilesSource(f"{tmp_path}/sd.json", every=EVERY)) as told:
        await told.until(1)
        assert told["10.0.0.1-80"].labels == {"zone": "x"}
        assert len(told.last.backends) == 2
