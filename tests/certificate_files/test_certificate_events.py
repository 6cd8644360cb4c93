"""What is told of certificates: swapped, refused, near their end."""

import time
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from lb.certificate_files.termination import COUNT_SECONDS, LOOK_SECONDS, CertificateEvent
from lb.errors import ConfigError
from lb.slices import at_once, made
from tests.kit.certificates import DAY
from tests.kit.terminations import lasting, listen, terminating
from tests.kit.time import virtual_time


async def test_a_swap_and_a_refusal_are_told(tmp_path: Path) -> None:
    termination = terminating(tmp_path, lasting("www.test"))
    told = listen(termination)
    lasting("www.test", "test").write(tmp_path, "0")
    await termination.reload()
    (tmp_path / "0.key").write_text("no key")
    with pytest.raises(ConfigError):
        await termination.reload()
    swapped, refused = told
    assert swapped == CertificateEvent("swapped", "1 changed; gains test")
    assert (refused.kind, refused.certificate) == ("refused", "")
    assert "0.key: expected a private key" in refused.detail
    assert termination.results == {"success": 1, "failure": 1}


async def test_what_nears_its_end_is_told_once_for_each_stage(tmp_path: Path) -> None:
    termination = terminating(
        tmp_path, lasting("www.test", since=0.0, left=100.0), lasting("api.test", left=300.0)
    )
    told, now = listen(termination), time.time()
    with capture_logs() as logged:
        for day in (10.0, 76.0, 77.0, 91.0, 101.0):
            at_once(made(termination.counting_down(now + day * DAY)))
    assert [(each.kind, each.certificate) for each in told] == [
        ("expiring", "www.test"),
        ("critical", "www.test"),
        ("expired", "www.test"),
    ]
    assert told[0].detail == "24.0 days and 24% of its lifetime are left"
    assert [line["event"] for line in logged] == [f"certificate {each.kind}" for each in told]


async def test_what_was_near_its_end_at_the_start_is_told_but_not_logged_again(tmp_path: Path) -> None:
    termination = terminating(tmp_path, lasting("www.test", since=95.0, left=5.0))
    told = listen(termination)
    with capture_logs() as logged:
        at_once(made(termination.counting_down(time.time())))
    assert [each.kind for each in told] == ["critical"]
    assert logged == []


@virtual_time
async def test_its_task_counts_down_too(tmp_path: Path) -> None:
    termination = terminating(tmp_path, lasting("www.test", since=80.0, left=20.0))
    told = listen(termination)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(termination.run)
        await trio.sleep(COUNT_SECONDS + 2 * LOOK_SECONDS)
        nursery.cancel_scope.cancel()
    assert [each.kind for each in told] == ["expiring"]
