"""What the tests of the page need: the program over backends that can be ended, and a Chromium."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.programs import path_of
from tests.system.servers import free_ports

PATIENCE = 10.0
SERVER = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(float(self.path.partition("=")[2]))
        while self.path.startswith("/until") and not os.path.exists(self.path.partition("=")[2]):
            time.sleep(0.02)
        self.send_response(500 if self.path.startswith("/bad") else 200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\\n")
    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
BOTH = """
const done = arguments[0]
;(async () => {
const tiles = ['.tiles [data-f=value]', '.tiles [data-f=more]']
const fields = ['#pools [data-f]:not([hidden])', ...tiles, '#log li', '#workers li', '.strip .up']
const recorded = ['#failures', '#slowest'].flatMap((list) => [`${list} [data-f]`, `${list} rect`])
const secured = ['#tls b', '#tls span', '#tls rect', '#shaken b', '#shaken span']
const runs = (each) => each.dataset.f === 'left' || each.className === 'up'
const still = (each) => (each.matches('input') ? each.value : each.textContent)
const written = (each) => (runs(each) ? each.textContent.replace(/\\d+/g, '#') : still(each))
const text = (each) => [each.dataset.f ?? each.id, written(each)]
const shape = (each) => [each.getAttribute('width'), each.getAttribute('d')]
const said = (each) => [...text(each), ...shape(each)].join(' ')
const all = (root) => [...root.querySelectorAll([...fields, ...recorded, ...secured])].map(said)
const page = await (await fetch('/', { headers: { Accept: 'text/html' } })).text()
const served = all(new DOMParser().parseFromString(page, 'text/html'))
const shown = all(document)
done(served.flatMap((each, at) => (each === shown[at] ? [] : [[each, shown[at] ?? null]])))
})()
"""
"""What the server writes now beside what the script has made of it: the pairs that differ. Of times that run
only the form is compared, for the page shows them as they were at the last tick."""
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

    def run(self, token: str | None = None, *more: str) -> None:
        """On the same ports each time; up when it answers."""
        command = [sys.executable, "-m", "lb", "run", "--access-log", "off"]
        command += ["--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}"]
        for name, port in zip(self.servers, self.ports, strict=True):
            command += ["--backend", f"{name}=http://127.0.0.1:{port}"]
        for setting in ("path=/", "interval=300ms", "changing_interval=200ms", "fall=1", "rise=1"):
            command += ["--set", f"pools.default.probe.{setting}"]
        command += more
        environment = os.environ | ({"LB_ADMIN_TOKEN": token} if token else {})
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        until(lambda: httpx.get(f"{self.admin}/healthz").status_code == 200, 20)

    def end(self) -> None:
        if self.process is not None:
            ended(self.process, signal.SIGKILL)
            self.process = None

    def again(self, token: str | None = None, *more: str) -> None:
        self.end()
        self.run(token, *more)

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

    def field(self, row: str, name: str) -> str:
        """What a row shows under this name."""
        return self.text(f"tr[data-id='{row}'] [data-f='{name}']")

    def shape(self, row: str, name: str) -> str:
        """The path that a row draws under this name."""
        return self.one(f"tr[data-id='{row}'] [data-f='{name}']").get_attribute("d") or ""

    def differences(self) -> list[list[str]]:
        """What the server would write now and what the script has made of it, where these differ."""
        found: list[list[str]] = self.driver.execute_async_script(BOTH)
        return found

    def click(self, selector: str) -> None:
        until(lambda: self.one(selector).is_displayed())
        self.one(selector).click()

    def act(self, act: str, row: str) -> None:
        self.click(f"tr[data-id='{row}'] [data-act='{act}']")

    def rows(self, selector: str = "") -> list[str]:
        """The ids of the rows that are shown."""
        script = "return [...document.querySelectorAll(arguments[0])].map((row) => row.dataset.id)"
        found: list[str] = self.driver.execute_script(script, f"{selector} tbody tr:not([hidden])")
        return found

    def complaints(self) -> list[str]:
        """What the console was told since the last look; that a connection broke is told there too."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")  # type: ignore[no-untyped-call]
            if entry["level"] in ("SEVERE", "WARNING") and "Failed to load resource" not in entry["message"]
        ]

    def emulate(self, width: int, scheme: str) -> None:
        metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@contextmanager
def chromium(folder: Path, *, trusts_all: bool = False) -> Iterator[Chrome]:
    """A browser with a profile of its own in this folder, which may take any certificate."""
    options = ChromeOptions()
    options.accept_insecure_certs = trusts_all
    options.binary_location = path_of("chromium")
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(path_of("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()
