"""The dialog of the requests that run, over the real service and a list of exchanges that is made up."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from admin.server import supervised
from lb.settings.backend_spec import BackendSpec
from tests.admin.kit import FakeRunning, Saves, make_control
from tests.admin.resources.exchanges.test_missing_workers import Incomplete
from tests.browser.kit import Tab, chromium, until

pytestmark = pytest.mark.needs("chromium", "chromedriver")


class Served:
    """The admin service in a thread of its own."""

    def __init__(self, *missing: int) -> None:
        self.url = ""
        self._missing = missing
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=lambda: trio.run(self._serve))

    def __enter__(self) -> "Served":
        self._thread.start()
        assert self._is_up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._token, self._stop = trio.lowlevel.current_trio_token(), trio.Event()
        control = make_control(Saves())
        for name in ("web1", "web2"):
            control.registry.add(BackendSpec(id=name, url="http://10.0.0.1:80"))
        if self._missing:
            control.exchanges = Incomplete(control, self._missing)
        control.running = self.running = FakeRunning(control.started)
        self.running.begin("upload", method=b"POST", target=b"/upload", phase="sending request")
        self.running.begin("<b>slow</b>", "web2", target=b"/slow?<b>")
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(partial(supervised, control, None, stop=self._stop))
            self.url = f"http://{bound}"
            self._is_up.set()


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as made:
        yield made


def test_what_runs_is_listed_and_ended(served: Served, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as driver:
        tab = Tab(driver, served.url)
        tab.open()
        tab.click("#runs")
        until(lambda: len(tab.all("#running-list li")) == 2)
        assert "POST /upload" in tab.text("#running-list")
        assert "sending request for " in tab.text("#running-list")
        assert "waits for web2 to begin its answer · web2 · " in tab.text("#running-list")
        assert "GET /slow?<b>" in tab.text("#running-list")
        assert "/requests?running=1&limit=50" in tab.text("#running .curl code")
        tab.click("#running .main")
        tab.click("tr[data-id='web1'] [data-act='running']")
        until(lambda: len(tab.all("#running-list li")) == 1)
        assert tab.text("#running-title") == "Requests on web1"
        tab.click("#running-list button")
        until(lambda: tab.text("#running-none") == "None runs now.")
        assert tab.text("#running .curl code").endswith("/requests/upload")
        assert [each for each, _ in served.running.ended] == [b"upload"]
        assert [each.id for each in served.running.exchanges] == [b"<b>slow</b>"]


def test_workers_that_did_not_answer_are_named(tmp_path: Path) -> None:
    said = "workers 2 and 3 did not answer in time"
    with Served(2, 3) as served, chromium(tmp_path / "profile") as driver:
        tab = Tab(driver, served.url)
        tab.open()
        until(lambda: tab.text("#failures-missing") == said)
        tab.click("#runs")
        until(lambda: tab.text("#running-missing") == said)
