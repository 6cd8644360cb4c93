"""What the page has to do with TLS, in a real browser: it comes over it, and has certificates renewed."""

from pathlib import Path

import pytest
import trio

from tests.browser.kit import Tab, chromium, until
from tests.system.pebbles import pebble
from tests.system.program import program
from tests.system.program import until as until_true
from tests.system.servers import python_servers
from tests.system.test_acme_program import NAME, config, is_served, shown
from tests.system.test_tls_admin import SECURE, configured

pytestmark = pytest.mark.needs("chromium", "chromedriver")


async def test_the_page_comes_over_tls(tmp_path: Path) -> None:
    """The browser has no certificate of its own, so it gives a token."""
    configured(tmp_path)
    async with program("--config", str(tmp_path / "lb.toml"), *SECURE, listen=None) as lb:
        await trio.to_thread.run_sync(looks, f"https://{lb.admin}", tmp_path / "profile")


def looks(url: str, profile: Path) -> None:
    with chromium(profile, trusts_all=True) as driver:
        tab = Tab(driver, url)
        driver.get(f"{url}/")
        until(lambda: tab.one("#token").is_displayed())
        tab.one("#secret").send_keys("s3cret\n")
        until(lambda: tab.text("#says") == "live")
        assert tab.text("#who") == "grafana · read"
        assert tab.field("web1", "id") == "web1"
        assert tab.text("#certificates b") == "admin.test"


@pytest.mark.needs("pebble", "pebble-challtestsrv")
async def test_a_certificate_is_ordered_anew_by_its_button(tmp_path: Path) -> None:
    async with python_servers(1, tmp_path) as [backend], pebble(tmp_path) as place:
        async with program("--config", config(tmp_path, place, backend), listen=None) as lb:
            await until_true(lambda: is_served(place.tls_port), seconds=60)
            _, before = await shown(place.tls_port)
            await trio.to_thread.run_sync(presses_renew, f"http://{lb.admin}", tmp_path / "profile")

            async def is_another() -> bool:
                return (await shown(place.tls_port))[1].serial_number != before.serial_number

            await until_true(is_another, seconds=60)


def presses_renew(url: str, profile: Path) -> None:
    with chromium(profile) as driver:
        tab = Tab(driver, url)
        tab.open()
        until(lambda: tab.text("#certificates b") == NAME)
        tab.click("#certificates button")
        until(lambda: tab.text("#toast span") == f"{NAME} is ordered")
        assert f"/certificates/{NAME}/renew" in tab.text("#toast code")
