"""The page in a real browser, over the real program: one Chromium for all of it, ended in any case."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.system.servers import free_ports

PATIENCE = 10.0
TOKEN = "the-token-of-this-test"
SLOW_SECONDS = 2
SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(float(self.path.partition("=")[2]))
        self.send_response(500 if self.path.startswith("/bad") else 200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\\n")
    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1280,1000",
)


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What it gives once that is true; the browser and the program are other processes, so we look."""
    ends = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (WebDriverException, httpx.HTTPError):
            pass
        assert time.monotonic() < ends, "it did not come about in time"
        time.sleep(0.03)  # noqa: TID251


class Balancer:
    """`lb run` with three backends and a probe, all of them processes that can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.port, self.admin_port, *self.ports = free_ports(5)
        self.url, self.admin = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.admin_port}"
        self.script = folder / "server.py"
        self.script.write_text(SERVER)
        self.servers = {f"web{number}": self.serve(port) for number, port in enumerate(self.ports, 1)}
        self.process: subprocess.Popen[bytes] | None = None

    def serve(self, port: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, self.script, str(port)])

    def run(self, token: str | None = None) -> None:
        """On the same ports each time; up when it answers."""
        command = [sys.executable, "-m", "lb", "run", "--access-log", "off"]
        command += ["--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}"]
        for id, port in zip(self.servers, self.ports, strict=True):
            command += ["--backend", f"{id}=http://127.0.0.1:{port}"]
        for setting in ("path=/", "interval=500ms", "changing_interval=200ms", "fall=1", "rise=1"):
            command += ["--set", f"pools.default.probe.{setting}"]
        environment = os.environ | ({"LB_ADMIN_TOKEN": token} if token else {})
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        until(lambda: httpx.get(f"{self.admin}/healthz").status_code == 200, 20)

    def end(self) -> None:
        if self.process is not None:
            ended(self.process, signal.SIGKILL)
            self.process = None

    def again(self, token: str | None = None) -> None:
        self.end()
        self.run(token)

    def close(self) -> None:
        self.end()
        for server in self.servers.values():
            ended(server, signal.SIGKILL)


def ended(process: subprocess.Popen[bytes], by: signal.Signals) -> None:
    process.send_signal(by)
    process.wait(10)


class Tab:
    """The page, in the words of a test."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self) -> None:
        self.driver.get(f"{self.url}/")
        until(lambda: self.text("#says") == "live")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def field(self, id: str, name: str) -> str:
        """What a row shows under this name."""
        return self.text(f"tr[data-id='{id}'] [data-f='{name}']")

    def click(self, selector: str) -> None:
        until(lambda: self.one(selector).is_displayed())
        self.one(selector).click()

    def act(self, act: str, id: str) -> None:
        self.click(f"tr[data-id='{id}'] [data-act='{act}']")

    def emulate(self, width: int, scheme: str) -> None:
        metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


class Scene(NamedTuple):
    balancer: Balancer
    tab: Tab


@contextmanager
def chromium(folder: Path) -> Iterator[Chrome]:
    """Without it the tests fail."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("page")
    balancer = Balancer(folder)
    try:
        balancer.run()
        with chromium(folder / "profile") as driver:
            yield Scene(balancer, Tab(driver, balancer.admin))
    finally:
        balancer.close()


@pytest.fixture(autouse=True)
def no_complaint(scene: Scene) -> Iterator[None]:
    """The console stays silent; that a connection broke is told there too, and the tests break some."""
    scene.tab.driver.get_log("browser")  # type: ignore[no-untyped-call]
    yield
    said = [
        entry["message"]
        for entry in scene.tab.driver.get_log("browser")  # type: ignore[no-untyped-call]
        if entry["level"] in ("SEVERE", "WARNING") and "Failed to load resource" not in entry["message"]
    ]
    assert said == []


def test_rows_appear_and_numbers_move(scene: Scene) -> None:
    tab, url = scene.tab, scene.balancer.url
    tab.open()
    assert [each.get_attribute("data-id") for each in tab.all("tbody tr")] == ["web1", "web2", "web3"]
    until(lambda: tab.field("web1", "state") == "ready")
    for path in ("/", "/", "/", "/bad?1"):
        httpx.get(f"{url}{path}")
    until(lambda: tab.field("web1", "rps") not in ("", "0"))
    until(lambda: "GET /bad?1" in tab.text("#failures"))
    tab.click("#failures summary")
    assert len(tab.all("#failures details[open] .try")) == 1
    assert tab.all("#flow path")
    assert tab.driver.title == "✓ trio-lb"


def test_a_form_error_stands_at_its_field_and_a_good_one_adds(scene: Scene) -> None:
    tab = scene.tab
    tab.open()
    tab.click("#add")
    tab.one("#new-url").send_keys("ftp://nowhere")
    tab.one("#new-weight").send_keys("2")
    assert "-d url=ftp://nowhere -d weight=2" in tab.text("#new code")
    tab.click("#new .main")
    until(lambda: "expected http://host:port" in tab.text("#new-url-error"))
    assert tab.text("#new-weight-error") == ""
    tab.one("#new-url").clear()
    tab.one("#new-url").send_keys(f"http://127.0.0.1:{scene.balancer.ports[0]}")
    tab.one("#new-id").send_keys("again")
    tab.click("#new .main")
    until(lambda: tab.field("again", "state") == "ready")
    tab.act("remove", "again")
    assert "3 of 4 in default will take its requests" in tab.text("#act-says")
    assert f"-X DELETE '127.0.0.1:{scene.balancer.admin_port}/backends/again?drain_timeout=60s'" in tab.text(
        "#act code"
    )
    tab.click("#act-go")
    until(lambda: not tab.all("tr[data-id='again']"))


def test_filter_sort_and_weight(scene: Scene) -> None:
    tab = scene.tab
    tab.open()
    tab.one("#filter").send_keys("web2")
    assert [row.get_attribute("data-id") for row in tab.all("tbody tr:not([hidden])")] == ["web2"]
    tab.one("#filter").clear()
    tab.one("#filter").send_keys(" ")
    weight = tab.one("tr[data-id='web3'] input")
    weight.clear()
    weight.send_keys("7\n")
    until(lambda: httpx.get(f"{scene.balancer.admin}/backends/web3").json()["weight"] == 7)
    tab.click("[data-sort='weight']")
    until(lambda: tab.all("tbody tr")[0].get_attribute("data-id") == "web3")


def test_a_drain_from_the_page_counts_to_zero(scene: Scene) -> None:
    tab, url = scene.tab, scene.balancer.url
    scene.balancer.again()
    tab.open()
    slow = [
        subprocess.Popen(["curl", "-s", f"{url}/slow?s={SLOW_SECONDS}", "-o", "/dev/null"]) for _ in "123"
    ]
    until(lambda: tab.field("web1", "flight") == "1")
    tab.act("drain", "web1")
    assert "What is in flight (1) may end first" in tab.text("#act-says")
    tab.click("#act-go")
    until(lambda: tab.field("web1", "left").startswith("1 left 0:"))
    assert tab.field("web1", "state") == "draining"
    until(lambda: tab.field("web1", "state") == "drained")
    assert tab.field("web1", "flight") == "0"
    assert [process.wait(10) for process in slow] == [0, 0, 0]
    tab.act("ready", "web1")
    until(lambda: tab.field("web1", "state") == "ready")


def test_a_killed_backend_turns_down(scene: Scene) -> None:
    tab, balancer = scene.tab, scene.balancer
    tab.open()
    began = time.monotonic()
    ended(balancer.servers["web2"], signal.SIGKILL)
    until(lambda: tab.field("web2", "state") == "down")
    assert time.monotonic() - began < 2 + 1  # a tick of the page on a busy machine
    assert "refused" in tab.field("web2", "why")
    assert tab.driver.title == "✗ 1 down trio-lb"
    assert str(tab.one("#icon").get_attribute("href")).endswith("/page/warn.svg")
    tab.click("#failed")
    assert [row.get_attribute("data-id") for row in tab.all("tbody tr:not([hidden])")] == ["web2"]
    balancer.servers["web2"] = balancer.serve(balancer.ports[1])
    until(lambda: tab.driver.title == "✓ trio-lb")
    until(lambda: "web2" in tab.text("#log"))


def test_it_recovers_when_the_balancer_is_back(scene: Scene) -> None:
    tab = scene.tab
    tab.open()
    scene.balancer.end()
    until(lambda: tab.text("#says").startswith("reconnecting"))
    scene.balancer.run()
    until(lambda: tab.text("#says") == "live")
    httpx.get(scene.balancer.url)
    until(lambda: tab.field("web1", "rps") not in ("", "0"))


def test_without_javascript_the_numbers_are_there(scene: Scene) -> None:
    tab = scene.tab
    tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        tab.driver.get(f"{scene.balancer.admin}/")
        assert tab.field("web1", "state") == "ready"
        assert tab.text("#t-backends b") == "3"
        assert not tab.one("#add").is_displayed()
    finally:
        tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_screenshots(scene: Scene, tmp_path: Path, width: int, scheme: str) -> None:
    tab = scene.tab
    tab.emulate(width, scheme)
    try:
        tab.open()
        script = "return document.documentElement.scrollWidth"
        assert tab.driver.execute_script(script) <= width
        assert tab.driver.save_screenshot(str(tmp_path / f"page-{width}-{scheme}.png"))
    finally:
        tab.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_asks_for_the_token(scene: Scene) -> None:
    tab, balancer = scene.tab, scene.balancer
    balancer.again(TOKEN)
    tab.driver.get(f"{balancer.admin}/")
    until(lambda: tab.one("#secret").is_displayed())
    assert not tab.all("tbody tr")
    tab.one("#secret").send_keys("wrong\n")
    until(lambda: tab.text("#token-error") == "That is not the token.")
    tab.one("#secret").send_keys(f"{TOKEN}\n")
    until(lambda: tab.text("#says") == "live")
    until(lambda: len(tab.all("tbody tr")) == 3)
    assert json.loads(tab.driver.execute_script("return JSON.stringify(sessionStorage)")) == {"token": TOKEN}
    tab.act("drain", "web1")
    assert 'curl -H "Authorization: Bearer $LB_ADMIN_TOKEN" -X POST' in tab.text("#act code")
    tab.click("#act-go")
    until(lambda: tab.field("web1", "state") == "drained")
