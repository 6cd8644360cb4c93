"""What an operator does on the page over many backends and pools: fold, look closely, act on several."""

import threading
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from selenium.webdriver import ActionChains

from tests.browser.axe import violations
from tests.browser.kit import Balancer, Tab, chromium, until

pytestmark = pytest.mark.needs("chromium", "chromedriver")

POOLS = ("default", "api", "images", "search")
MANY = 20
WIDTHS = (360, 420, 700, 701, 768, 960, 961, 1024, 1100, 1120, 1180, 1181, 1280, 1920)
CUT = """
const inside = (each) => each.scrollWidth <= each.clientWidth + 1
const buttons = [...document.querySelectorAll('#pools tbody tr:not([hidden]) .acts button')]
const shown = buttons.filter((each) => each.offsetParent)
const table = document.querySelector('#pools table').getBoundingClientRect()
const tiles = [...document.querySelectorAll('.tile p')]
return [
  document.documentElement.scrollWidth > innerWidth ? 'the page' : '',
  ...shown.filter((each) => each.getBoundingClientRect().right > table.right).map((each) => each.ariaLabel),
  ...tiles.filter((each) => !inside(each)).map((each) => each.textContent),
].filter(Boolean)
"""
"""What is cut off or runs out of its place."""
OPENED = (
    ("tr[data-id=default-00] [data-act=open]", "#one header form button"),
    ("tr[data-id=default-00] [data-act=drain]", "#act-no"),
    ("#runs", "#running .main"),
    ("#add", "#new [data-close]"),
    ("#help", "#keys .main"),
)
"""What opens each dialog, and what closes it."""


class Scene(NamedTuple):
    balancer: Balancer
    tab: Tab

    @property
    def admin(self) -> str:
        return self.balancer.admin

    def put(self, pool: str, count: int) -> None:
        """So many backends into a pool, all of them the first server."""
        url = f"http://127.0.0.1:{self.balancer.ports[0]}"
        items = [{"id": f"{pool}-{number:02}", "url": url} for number in range(count)]
        answer = httpx.put(f"{self.admin}/backends?pool={pool}", json={"items": items})
        assert answer.status_code in (200, 202), answer.text

    def opens(self, view: str = "") -> None:
        self.tab.driver.get("about:blank")
        self.tab.driver.get(f"{self.admin}/{view}")
        until(lambda: self.tab.text("#says") == "live")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("operating")
    balancer = Balancer(folder)
    try:
        balancer.run(None, *(f"--set=pools.{name}.policy=round_robin" for name in POOLS[1:]))
        with chromium(folder / "profile") as driver:
            made = Scene(balancer, Tab(driver, balancer.admin))
            for name, count in zip(POOLS, (MANY, 2, 2, 2), strict=True):
                made.put(name, count)
            yield made
    finally:
        balancer.close()


@pytest.fixture(autouse=True)
def no_complaint(scene: Scene) -> Iterator[None]:
    scene.tab.complaints()
    yield
    assert scene.tab.complaints() == []


def test_of_many_pools_each_is_one_line_until_it_is_opened(scene: Scene) -> None:
    tab = scene.tab
    scene.opens()
    until(lambda: tab.rows() == [])
    assert [each.text for each in tab.all("#pools h2")] == [*POOLS]
    served = httpx.get(scene.admin, headers={"Accept": "text/html"}).text  # so nothing jumps as it begins
    assert (served.count(' folded">'), served.count("class=folded")) == (MANY + 6, len(POOLS))
    tab.click("[data-pool=api] [data-act=fold]")
    assert tab.rows() == ["api-00", "api-01"]
    assert tab.one("[data-pool=api] .fold").get_attribute("aria-expanded") == "true"
    tab.driver.refresh()  # what is open is in the address
    until(lambda: tab.text("#says") == "live")
    until(lambda: tab.rows() == ["api-00", "api-01"])
    tab.click("[data-pool=api] [data-act=fold]")
    assert tab.rows() == []


def test_of_many_rows_the_healthy_ones_are_folded(scene: Scene) -> None:
    tab = scene.tab
    scene.opens("#open=default")
    until(lambda: tab.text("[data-pool=default] .more") == "12 more, all ready")
    assert len(tab.rows()) == 8
    httpx.post(f"{scene.admin}/backends/default-19/maintenance")
    until(lambda: "default-19" in tab.rows())  # it is not well, so it is not folded
    tab.click("[data-pool=default] .more")
    assert len(tab.rows()) == MANY
    assert tab.text("[data-pool=default] .more") == "Fewer"
    assert "whole=default" in tab.driver.current_url
    tab.click("[data-pool=default] .more")
    httpx.post(f"{scene.admin}/backends/default-19/ready")
    until(lambda: len(tab.rows()) == 8)


def test_a_search_unfolds_what_it_finds(scene: Scene) -> None:
    tab = scene.tab
    scene.opens()
    tab.one("#filter").send_keys("-01")
    until(lambda: tab.rows() == ["default-01", "api-01", "images-01", "search-01"])
    assert tab.text("#shown") == f"4 of {MANY + 6}"
    tab.one("#filter").clear()
    tab.one("#filter").send_keys(" ")
    until(lambda: tab.rows() == [])


def test_one_in_trouble_is_shown_in_a_closed_pool(scene: Scene) -> None:
    tab = scene.tab
    scene.opens()
    url = f"http://127.0.0.1:{scene.balancer.ports[1]}"
    httpx.patch(f"{scene.admin}/pools/api", json={"probe": {"path": "/", "interval": "200ms", "fall": 1}})
    httpx.patch(f"{scene.admin}/backends/api-01", json={"url": "http://127.0.0.1:9"})
    until(lambda: tab.rows() == ["api-01"])
    until(lambda: "api-01 has been down" in tab.text("#troubles"))
    tab.click("#which")
    assert tab.one("#failed").is_selected()
    tab.one("body").send_keys("t")
    assert not tab.one("#failed").is_selected()
    tab.click("#troubles [data-go=show]")
    until(lambda: "refused" in tab.text("#one-why"))
    tab.click("#one header form button")
    httpx.patch(f"{scene.admin}/backends/api-01", json={"url": url})
    until(lambda: tab.rows() == [])


def test_the_view_of_one_backend_shows_all_of_it(scene: Scene) -> None:
    balancer = scene.balancer
    httpx.put(
        f"{scene.admin}/backends",
        json={"items": [{"id": "alone", "url": f"http://127.0.0.1:{balancer.ports[0]}"}]},
    )
    try:
        looks_closely(scene)
    finally:
        scene.put("default", MANY)


def looks_closely(scene: Scene) -> None:
    tab, balancer = scene.tab, scene.balancer
    until(lambda: len(httpx.get(f"{scene.admin}/backends?pool=default").json()["items"]) == 1)
    slow = threading.Thread(target=httpx.get, args=(f"{balancer.url}/slow?s=20",), kwargs={"timeout": 30})
    slow.start()
    assert httpx.get(f"{balancer.url}/bad?one").status_code == 500
    scene.opens("#open=default")
    tab.act("open", "alone")
    until(lambda: "GET /slow?s=20" in tab.text("#one-running"))
    assert "backend=alone" in tab.driver.current_url
    until(lambda: "GET /bad?one" in tab.text("#one-failures"))
    tab.click("#one-failures summary")
    assert "500 · " in tab.text("#one-failures .try")
    assert "1 of 1" not in tab.text("#one-facts")
    assert "added" in tab.text("#one-events")
    until(lambda: "polyline" in tab.one("#one-rps svg").get_attribute("innerHTML"))  # type: ignore[operator]
    tab.click("#one-acts [data-act=check]")
    until(lambda: "The last one passed" in tab.text("#one-last"))
    tab.click("#one-running button")
    slow.join(10)
    assert not slow.is_alive()
    until(lambda: tab.text("#one-none") == "Nothing runs on it now.")
    tab.click("#one-acts [data-act=drain]")
    tab.click("#act-go")
    until(lambda: tab.text("#one-state") == "drained")
    until(lambda: "drained · in " in tab.text("#one-events"))
    scene.opens("#backend=alone")  # such a link can be sent to somebody
    until(lambda: tab.text("#one-state") == "drained")
    tab.click("#one-acts [data-act=ready]")
    until(lambda: tab.text("#one-state") == "ready")
    tab.click("#one header form button")
    assert "backend=" not in tab.driver.current_url


def test_several_are_drained_with_one_dialog_and_a_result_for_each(scene: Scene) -> None:
    tab = scene.tab
    scene.opens("#open=images&open=search")
    until(lambda: len(tab.rows()) == 4)
    tab.click("[data-pool=images] [data-f=pickall]")
    tab.click("tr[data-id=search-00] [data-f=pick]")
    assert tab.text("#picked-count") == "3 selected"
    tab.click("#picked [data-act=drain]")
    assert "Nobody else in images takes requests" in tab.text("#act-says")
    assert "1 of 2 in search will take their requests" in tab.text("#act-says")
    tab.one("#act-keep").send_keys("1")
    commands = tab.text("#act code").splitlines()
    assert len(commands) == 3
    assert "/backends/images-00/drain?timeout=60s&keep_available=1" in commands[0]
    tab.click("#act-go")
    until(lambda: len(tab.all("#act-results li")) == 3)
    said = tab.text("#act-results")
    assert "✓ images-00 drains" in said
    assert "✗ images-01: " in said
    assert "✓ search-00 drains" in said
    assert tab.text("#act-go") == "Again: the 1 that failed"
    tab.click("#act-no")
    assert tab.text("#picked-count") == "1 selected"
    until(lambda: tab.field("images-00", "state") == "drained")
    assert tab.field("images-01", "state") == "ready"
    tab.click("#picked [data-act=clear]")
    for name in ("images-00", "search-00"):
        tab.click(f"tr[data-id={name}] [data-f=pick]")
    tab.click("#picked [data-act=ready]")
    tab.click("#act-go")
    until(lambda: tab.field("images-00", "state") == tab.field("search-00", "state") == "ready")
    tab.click("#act-no")
    assert not tab.one("#picked").is_displayed()


def test_a_drain_is_a_mark_in_the_lines(scene: Scene) -> None:
    tab = scene.tab
    scene.opens()
    httpx.post(f"{scene.admin}/backends/api-00/drain")
    until(lambda: tab.one("#t-rps .drains").get_attribute("d"))
    assert tab.text("#t-rps .peak").startswith("peak ")
    svg = tab.one("#t-rps svg")
    edge = int(svg.size["width"]) // 2 - 1
    ActionChains(tab.driver).move_to_element_with_offset(svg, edge, 0).perform()
    until(lambda: "/s at " in tab.text("#t-rps .peak"))
    assert tab.text("#t-rps .axis") == "5 min ago\n┆ drains\nnow"
    httpx.post(f"{scene.admin}/backends/api-00/ready")


def test_the_keys_are_told(scene: Scene) -> None:
    tab = scene.tab
    scene.opens()
    tab.one("body").send_keys("?")
    assert "trouble only" in tab.text("#keys")
    tab.click("#keys .main")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_off(scene: Scene, width: int) -> None:
    tab = scene.tab
    try:
        tab.emulate(width, "light")
        scene.opens("#open=default")
        until(lambda: len(tab.rows()) == 8)
        assert tab.driver.execute_script(CUT) == []
    finally:
        tab.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_page_without_backends_offers_to_add_one(scene: Scene) -> None:
    tab = scene.tab
    httpx.put(f"{scene.admin}/backends?pool=search", json={"items": []})
    scene.opens("#open=search")
    until(lambda: "No backend yet." in tab.text("[data-pool=search]"))
    tab.click("[data-pool=search] [data-act=add]")
    assert tab.one("#new-pool").get_property("value") == "search"
    tab.click("#new [data-close]")
    scene.put("search", 2)


def test_who_wants_less_motion_gets_none(scene: Scene) -> None:
    tab = scene.tab
    features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    tab.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        scene.opens()
        assert tab.driver.execute_script("return document.getAnimations().length") == 0
    finally:
        tab.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_rule_of_accessibility_is_broken(scene: Scene, width: int, scheme: str) -> None:
    tab = scene.tab
    httpx.get(f"{scene.balancer.url}/bad?rule")
    httpx.post(f"{scene.admin}/backends/api-00/drain")
    httpx.post(f"{scene.admin}/backends/api-01/maintenance")
    try:
        tab.emulate(width, scheme)
        scene.opens("#open=default&open=api")
        until(lambda: "GET /bad?rule" in tab.text("#failures"))
        until(lambda: tab.field("api-01", "state") == "maintenance")
        tab.one("#try-url").send_keys("x.test/\n")
        until(lambda: tab.text("#way"))
        tab.one("#find-id").send_keys("unknown\n")
        until(lambda: tab.text("#find-error"))
        assert violations(tab) == []
        tab.driver.execute_script("scrollTo(0, 0)")
        for opening, closing in OPENED:
            tab.click(opening)
            assert violations(tab) == [], opening
            tab.click(closing)
    finally:
        tab.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        httpx.post(f"{scene.admin}/backends/api-00/ready")
        httpx.post(f"{scene.admin}/backends/api-01/ready")
