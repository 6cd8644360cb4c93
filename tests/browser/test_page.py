"""The page in a real browser, over the real program: one Chromium for all of it, ended in any case."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.browser.kit import Balancer, Tab, chromium, ended, until
from tests.kit.terminations import lasting
from tests.system.servers import free_ports

pytestmark = pytest.mark.needs("chromium", "chromedriver")

TOKEN = "the-token-of-this-test"
TOKEN_TO_READ = "the-token-of-a-dashboard"
NOBODY = "a-backend-with-a-long-name-that-nobody-serves"


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
    """The console stays silent."""
    scene.tab.complaints()
    yield
    assert scene.tab.complaints() == []


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
    httpx.post(f"{scene.balancer.admin}/backends", data={"url": "http://127.0.0.1:9", "id": NOBODY})
    tab.open()
    until(lambda: tab.field(NOBODY, "state") == "down")
    assert "rack=b" in tab.field("web2", "where")
    httpx.patch(f"{scene.balancer.admin}/pools/default", json={"probe": {"interval": "1m"}})
    until(lambda: tab.differences() == [])
    httpx.patch(f"{scene.balancer.admin}/pools/default", json={"probe": {"interval": "300ms"}})
    httpx.delete(f"{scene.balancer.admin}/backends/{NOBODY}?force=true")
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


def test_a_slow_request_is_told_as_lb_why_tells_it(scene: Scene) -> None:
    tab, balancer = scene.tab, scene.balancer
    balancer.again()
    httpx.get(f"{balancer.url}/slow?s=0.3")
    tab.open()
    until(lambda: "GET /slow?s=0.3" in tab.text("#slowest"))
    [slow] = httpx.get(f"{balancer.admin}/requests?slow=1").json()["items"]
    assert slow["explain"] in tab.text("#slowest")
    tab.click("#slowest summary")
    assert len(tab.all("#slowest details[open] rect")) == 3
    until(lambda: tab.differences() == [])
    tab.act("open", slow["attempts"][0]["backend"])
    until(lambda: slow["explain"] in tab.text("#one-slowest"))
    tab.click("#one header form button")


def test_a_request_is_found_by_the_id_that_a_client_quotes(scene: Scene) -> None:
    tab, balancer = scene.tab, scene.balancer
    httpx.get(f"{balancer.url}/quoted")
    [quoted] = httpx.get(f"{balancer.admin}/requests?limit=1").json()["items"]
    tab.open()
    tab.one("#find-id").send_keys(f" {quoted['id']}\n")
    until(lambda: quoted["explain"] in tab.text("#found"))
    assert quoted["id"] in tab.text("#found .facts")
    tab.one("#find-id").send_keys("x\n")
    until(lambda: "no request" in tab.text("#find-error"))
    assert tab.text("#found") == ""


def test_a_url_is_tried_without_a_request(scene: Scene) -> None:
    tab, balancer = scene.tab, scene.balancer
    balancer.again(None, '--set=routes=[{host="shop.test", pool="default"}, {pool="default"}]')
    tab.open()
    until(lambda: len(tab.all("#routes li")) == 2)
    httpx.post(f"{balancer.admin}/backends/web2/maintenance")
    tab.one("#try-url").send_keys("shop.test/cart\n")
    until(lambda: "Route 1 takes it" in tab.text("#way-says"))
    assert "2 of 3 backends could take it now" in tab.text("#way-says")
    assert [each.text for each in tab.all("#routes .ok")] == ["shop.test /\n→ default"]
    assert "web1\ncould take it" in tab.text("#way")
    assert "web2\nno: maintenance" in tab.text("#way")
    assert tab.text("#tried code").endswith("/route?url=shop.test%2Fcart'")
    tab.one("#try-url").clear()
    tab.one("#try-url").send_keys("ftp://nowhere\n")
    until(lambda: "expected a URL such as" in tab.text("#try-error"))
    assert tab.text("#way-says") == tab.text("#way") == ""
    httpx.post(f"{balancer.admin}/backends/web2/ready")


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
    tab.driver.refresh()  # the view is in the address
    until(lambda: tab.text("#says") == "live")
    assert [row.get_attribute("data-id") for row in tab.all("tbody tr:not([hidden])")] == ["web2"]
    tab.one("#filter").clear()
    tab.one("#filter").send_keys(" ")
    weight = tab.one("tr[data-id='web3'] [data-f=weight]")
    weight.clear()
    weight.send_keys("7\n")
    until(lambda: httpx.get(f"{scene.balancer.admin}/backends/web3").json()["weight"] == 7)
    tab.click("[data-sort='weight']")
    until(lambda: tab.all("tbody tr")[0].get_attribute("data-id") == "web3")


def test_enter_removes_nothing_that_was_clicked_by_mistake(scene: Scene) -> None:
    tab = scene.tab
    tab.open()
    tab.act("remove", "web3")
    tab.driver.switch_to.active_element.send_keys("\n")
    until(lambda: not tab.one("#act").is_displayed())
    assert httpx.get(f"{scene.balancer.admin}/backends/web3").json()["admin_state"] == "ready"


def test_times_are_in_utc_or_in_those_of_the_place(scene: Scene) -> None:
    tab = scene.tab
    tab.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
    tab.open()
    time_of = (
        "const t = document.querySelector('#log time'); return [t.textContent, t.dateTime.slice(11, 19)]"
    )
    until(lambda: tab.all("#log time"))
    shown, told = tab.driver.execute_script(time_of)
    assert shown == told
    tab.click("#zone")
    assert tab.text("#zone") == "local time"
    there, _ = tab.driver.execute_script(time_of)
    assert (int(there[:2]) - int(told[:2])) % 24 == 9
    tab.click("#zone")
    tab.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


@pytest.mark.needs("curl")
def test_a_drain_from_the_page_counts_to_zero(scene: Scene, tmp_path: Path) -> None:
    tab, url = scene.tab, scene.balancer.url
    scene.balancer.again()
    tab.open()
    end = tmp_path / "end"
    slow = [subprocess.Popen(["curl", "-s", f"{url}/until?file={end}", "-o", "/dev/null"]) for _ in "123"]
    until(lambda: tab.field("web1", "flight") == "1")
    tab.act("drain", "web1")
    assert "What is in flight (1) may end first" in tab.text("#act-says")
    tab.click("#act-go")
    until(lambda: tab.field("web1", "left").startswith("1 left 0:"))
    assert tab.field("web1", "state") == "draining"
    end.touch()
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
    until(lambda: "web2 has been down" in tab.text("#troubles"))
    assert "refused" in tab.text("#troubles")
    until(lambda: tab.all("tbody tr")[0].get_attribute("data-id") == "web2")  # it stands above the others
    tab.click("#troubles [data-go=show]")
    until(lambda: "refused" in tab.text("#one-why"))
    tab.click("#one header form button")
    tab.click("#failed")
    assert [row.get_attribute("data-id") for row in tab.all("tbody tr:not([hidden])")] == ["web2"]
    balancer.servers["web2"] = balancer.serve(balancer.ports[1])
    until(lambda: tab.driver.title == "✓ trio-lb")
    until(lambda: "web2" in tab.text("#log"))
    until(lambda: not tab.one("#trouble").is_displayed())


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
    assert "LB_ADMIN_TOKEN" in str(tab.one("#token-hint").get_attribute("textContent"))
    tab.click("#rekey")
    tab.click("#keep")
    tab.act("drain", "web1")
    assert 'curl -H "Authorization: Bearer $LB_ADMIN_TOKEN" -X POST' in tab.text("#act code")
    tab.click("#act-go")
    until(lambda: tab.field("web1", "state") == "drained")
    until(lambda: "draining · 0 in flight · by admin" in tab.text("#log"))
    tab.click("#rekey")
    tab.one("#secret").send_keys("another\n")
    until(lambda: tab.text("#says") == "no numbers without the token")
    tab.one("#secret").send_keys(f"{TOKEN}\n")
    until(lambda: tab.text("#says") == "live")


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
    looks = ":not([data-act=running]):not([data-act=open])"
    acts = tab.all(f"[data-act]{looks}, #add, [data-f=pick]")
    assert not [each for each in acts if each.is_displayed()]
    assert not tab.one("tr[data-id=web1] [data-f=weight]").is_enabled()
    tab.one("body").send_keys("a")
    assert not tab.one("#new").is_displayed()
    tab.act("open", "web1")
    until(lambda: tab.text("#one-state") == "ready")
    assert not [each for each in tab.all("#one-acts button") if each.is_displayed()]
    assert tab.text("#one-error") == ""


def test_workers_are_shown_where_there_are_several(scene: Scene, tmp_path: Path) -> None:
    tab, balancer = scene.tab, scene.balancer
    balancer.again(None, "--workers", "2")
    tab.open()
    until(lambda: all("serving" in line.text for line in tab.all("#workers li")))
    assert len(tab.all("#workers li")) == 2
    workers = httpx.get(f"{balancer.admin}/workers").json()["items"]
    os.kill(workers[1]["pid"], signal.SIGSTOP)
    until(lambda: "silent for" in tab.text("#workers"))
    shots(tab, tmp_path, "workers")
    os.kill(workers[1]["pid"], signal.SIGKILL)
    until(lambda: "restarted 1" in tab.text("#workers"))
    until(lambda: tab.text("#workers").count("serving") == 2)
    for line in ("worker 2\nsilent", "worker 2\nended · killed by SIGKILL", "worker 2\nserving"):
        assert line in tab.text("#log")
    until(lambda: tab.differences() == [])


def test_certificates_and_refused_handshakes_are_shown_where_tls_is(scene: Scene, tmp_path: Path) -> None:
    tab, balancer = scene.tab, scene.balancer
    tab.open()
    assert not tab.one("#tls").is_displayed()
    [port] = free_ports(1)
    files = [
        each.write(tmp_path, str(number))
        for number, each in enumerate((lasting("www.test"), lasting("old.test", since=95.0, left=5.5)))
    ]
    certificates = ", ".join(f'{{ chain = "{chain}", key = "{key}" }}' for chain, key in files)
    listen = ("--listen", f"https://127.0.0.1:{port}", "--set", f"tls.certificates=[{certificates}]")
    balancer.again(None, *listen)
    assert httpx.get(f"http://127.0.0.1:{port}").status_code == 400
    tab.open()
    until(lambda: "plain_http\nThe client speaks plain HTTP" in tab.text("#refusals"))
    assert tab.text("#certificates").splitlines()[:3] == [
        "old.test",
        f"critical · 5 days left, 5.5% of its life · until {day(5.5)}",
        "www.test",
    ]
    until(lambda: "old.test\ncritical · 5.5 days and 5% of its lifetime are left" in tab.text("#log"))
    until(lambda: tab.differences() == [])
    lasting("old.test", left=59.5).write(tmp_path, "1")
    httpx.post(f"{balancer.admin}/certificates/reload")
    until(lambda: "certificates\nswapped · 1 changed" in tab.text("#log"))
    until(lambda: "old.test\n59 days left" in tab.text("#certificates"))
    shots(tab, tmp_path, "tls")
    tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        tab.driver.get(f"{balancer.admin}/")
        assert "old.test" in tab.text("#certificates")
        assert "plain_http" in tab.text("#refusals")
    finally:
        tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def day(days: float) -> str:
    """The day that it will be in so many days."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def shots(tab: Tab, folder: Path, name: str) -> None:
    """A picture in each scheme, to be looked at."""
    try:
        for scheme in ("light", "dark"):
            tab.emulate(1280, scheme)
            assert tab.driver.save_screenshot(str(folder / f"{name}-{scheme}.png"))
    finally:
        tab.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
