"""The page in a real browser, over the real program: one Chromium for all of it, ended in any case."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.browser.kit import Balancer, Tab, chromium, ended, until

pytestmark = pytest.mark.needs("chromium", "chromedriver")

TOKEN = "the-token-of-this-test"
TOKEN_TO_READ = "the-token-of-a-dashboard"
SLOW_SECONDS = 2


class Scene(NamedTuple):
    balancer: Balancer
    tab: Tab


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
    assert tab.text("#where").endswith(" · flags")
    assert tab.text("#who") == "anonymous · admin"


def test_the_script_writes_what_the_server_wrote(scene: Scene) -> None:
    tab, url = scene.tab, scene.balancer.url
    for path in ("/", "/bad?1", "/none"):
        httpx.get(f"{url}{path}")
    httpx.patch(f"{scene.balancer.admin}/backends/web2", json={"labels": {"rack": "b"}, "max_in_flight": 7})
    httpx.post(f"{scene.balancer.admin}/backends/web3/drain?timeout=1s")
    httpx.post(f"{scene.balancer.admin}/backends", data={"url": "http://127.0.0.1:9", "id": "nobody"})
    tab.open()
    until(lambda: tab.field("nobody", "state") == "down")
    assert "rack=b" in tab.field("web2", "where")
    httpx.patch(f"{scene.balancer.admin}/pools/default", json={"probe": {"interval": "1m"}})
    until(lambda: tab.differences() == [])
    httpx.patch(f"{scene.balancer.admin}/pools/default", json={"probe": {"interval": "300ms"}})
    httpx.delete(f"{scene.balancer.admin}/backends/nobody?force=true")
    httpx.post(f"{scene.balancer.admin}/backends/web3/ready")


def test_what_is_open_stays_open_and_those_alike_are_one(scene: Scene) -> None:
    tab, url = scene.tab, scene.balancer.url
    scene.balancer.again()
    tab.open()
    httpx.get(f"{url}/bad?first")
    until(lambda: "GET /bad?first" in tab.text("#failures"))
    tab.click("#failures summary")
    for number in range(12):
        httpx.get(f"{url}/bad?{number}")
    until(lambda: "5 like this since" in tab.text("#failures details[open]"))
    assert "GET /bad?first" in tab.text("#failures details[open]")
    assert len(tab.all("#failures details")) == 3  # one for each backend
    tab.click("#failures details[open] summary")
    until(lambda: "GET /bad?first" not in tab.text("#failures"))


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
    httpx.get(scene.balancer.url)
    tab.act("remove", "again")
    until(lambda: tab.text("#act-whatif").startswith("The last "))
    assert "nobody would have waited" in tab.text("#act-whatif")
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


@pytest.mark.needs("curl")
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


@pytest.mark.needs("curl")
def test_a_request_that_runs_is_listed_and_ended(scene: Scene) -> None:
    tab = scene.tab
    scene.balancer.again()
    tab.open()
    path = "/slow?s=20"
    slow = subprocess.Popen(
        ["curl", "-s", "-w", "%{http_code}", f"{scene.balancer.url}{path}"], stdout=subprocess.PIPE
    )
    until(lambda: tab.field("web1", "flight") == "1")
    tab.click("tr[data-id='web1'] [data-act='running']")
    until(lambda: f"GET {path}" in tab.text("#running-list"))
    assert "waits for web1 to begin its answer" in tab.text("#running-list")
    tab.click("#running-list button")
    until(lambda: tab.text("#running-none") == "None runs now.")
    said, _ = slow.communicate(timeout=10)
    assert said.endswith(b"503")
    assert b"an operator ended it" in said
    tab.click("#running .main")


def test_a_balancer_that_is_taken_out_is_taken_back(scene: Scene) -> None:
    tab = scene.tab
    tab.open()
    httpx.post(f"{scene.balancer.admin}/drain")
    until(lambda: "being taken out" in tab.text("#notice"))
    tab.click("#undo")
    until(lambda: not tab.one("#notice").is_displayed())
    assert httpx.get(f"{scene.balancer.admin}/readyz").status_code == 200


def test_a_killed_backend_turns_down(scene: Scene) -> None:
    tab, balancer = scene.tab, scene.balancer
    tab.open()
    assert tab.shape("web2", "fail") == ""
    until(lambda: tab.shape("web2", "pass"))
    began = time.monotonic()
    ended(balancer.servers["web2"], signal.SIGKILL)
    until(lambda: tab.field("web2", "state") == "down")
    assert time.monotonic() - began < 2
    until(lambda: "refused" in tab.field("web2", "why"))
    until(lambda: tab.shape("web2", "fail"))
    assert tab.field("web2", "left").endswith(" s")
    until(lambda: tab.driver.title == "✗ 1 down trio-lb")
    assert str(tab.one("#icon").get_attribute("href")).endswith("/warn.svg")
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
    httpx.patch(f"{scene.balancer.admin}/backends/web1", json={"weight": 2})
    tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        tab.driver.get(f"{scene.balancer.admin}/")
        assert tab.field("web1", "state") == "ready"
        assert tab.text("#t-backends b") == "3"
        assert "web1 changed" in tab.text("#log").replace("\n", " ")
        assert tab.text("#who") == "anonymous · admin"
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


def test_a_token_to_read_shows_no_way_to_act(scene: Scene, tmp_path: Path) -> None:
    tab, balancer = scene.tab, scene.balancer
    tokens = tmp_path / "tokens"
    tokens.write_text(f"grafana read {TOKEN_TO_READ}\n")
    tokens.chmod(0o600)
    balancer.again(None, "--set", f"admin.tokens_file={tokens}")
    tab.driver.get(f"{balancer.admin}/")
    until(lambda: tab.one("#secret").is_displayed())
    tab.one("#secret").send_keys(f"{TOKEN_TO_READ}\n")
    until(lambda: tab.text("#who") == "grafana · read")
    until(lambda: tab.field("web1", "state") == "ready")
    assert not [each for each in tab.all("[data-act]:not([data-act=running]), #add") if each.is_displayed()]
