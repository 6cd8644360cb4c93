"""What the keeper can use and a worker cannot: a reload that says so, and workers that go on."""

import tempfile
from functools import partial
from pathlib import Path

from tests.system.program import Program, program, until
from tests.system.test_workers import IN_WORKERS, WORKERS, pids
from tests.system.upgrades import backend


def configured(folder: Path, port: int, more: str = "") -> str:
    file = folder / "lb.toml"
    backends = f'backends = [{{ id = "web1", url = "http://127.0.0.1:{port}" }}]'
    file.write_text(f"{more}\n[pools.default]\n{backends}\n")
    return str(file)


async def test_a_reload_that_workers_refuse_says_what_failed_and_where(tmp_path: Path) -> None:
    """A log file that the keeper has open, by a descriptor of its own, and no worker can open."""
    async with backend() as port:
        with tempfile.TemporaryFile() as log:
            number = log.fileno()
            file = configured(tmp_path, port)
            async with program("--config", file, *IN_WORKERS, pass_fds=[number]) as lb:
                before = {*pids(lb)}
                configured(tmp_path, port, f'via = "two"\naccess_log.file = "/dev/fd/{number}"')
                problem = await lb.api("POST", "/config/reload", 500)
                assert problem["type"] == "/problems/not-everywhere"
                for worker in range(1, WORKERS + 1):
                    what = f"worker {worker} goes on with the settings that it had: access_log.file: /dev/fd/"
                    assert what in problem["detail"]
                shown = (await lb.api("GET", "/workers"))["items"]
                assert all("access_log.file" in each["behind"][0] for each in shown)
                configured(tmp_path, port, 'via = "three"')
                await lb.api("POST", "/config/reload")
                await until(partial(none_is_behind, lb))
                assert {*pids(lb)} == before  # nobody had to end for it
    assert b"Traceback" not in lb.said


async def none_is_behind(lb: Program) -> bool:
    return not any(each["behind"] for each in (await lb.api("GET", "/workers"))["items"])
