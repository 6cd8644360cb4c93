"""The page at /: who gets it, under which policy, how big it is, and that all that is named is only text."""

import gzip
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from admin.event_publisher import EventPublisher
from admin.page import shapes, wording
from admin.page.assets import FOR_EVER, load_assets
from lb.control import Control
from lb.core.measures.histogram import LONGEST_TOLD
from lb.core.measures.rates import Codes
from lb.errors import Reason
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import Add, Answer, Api, Hold, MakeApi
from tests.admin.resources.exchanges.test_missing_workers import Incomplete
from tests.admin.resources.exchanges.test_recorded_requests import Tape

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
TOKEN = "a-token-of-the-operator"
HOSTILE = "<img src=x onerror=alert(1)>\"&'{{7*7}}"
MOST_BYTES = 56 * 1024
"""The page without backends and all of its files, as they travel."""
ASSETS = load_assets()
PATH = f"/page/{ASSETS.release}"


class Seen(HTMLParser):
    """Every element of a page with its attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


async def page(api: Api, **headers: str) -> Answer:
    answer = await api("GET", "/", headers={**BROWSER, **headers})
    assert answer.status == 200
    return answer


@pytest.mark.parametrize("accept", ["*/*", "text/plain", "application/json", ""])
async def test_whoever_does_not_ask_for_html_gets_the_cheat_sheet(api: Api, accept: str) -> None:
    answer = await api("GET", "/", headers={"Accept": accept})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.startswith(b"trio-lb ")


async def test_a_browser_gets_the_numbers_of_now(api: Api, add: Add, hold: Hold) -> None:
    hold(add("web1", max_in_flight=4))
    add("web2", weight=3)
    answer = await page(api)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert (answer.headers["cache-control"], answer.headers["vary"]) == (
        "no-store",
        "Accept, Accept-Encoding",
    )
    seen = Seen(answer.body.decode())
    rows = [
        attributes["data-id"] for tag, attributes in seen.elements if tag == "tr" and "data-id" in attributes
    ]
    assert rows == ["web1", "web2", ""]  # the last is the template
    assert "2 of 2 available" in seen.text
    assert {"width": "25%", "height": "100%", "data-f": "full"} in [each for _, each in seen.elements]
    assert (await api("HEAD", "/", headers=BROWSER)).status == 200


async def test_who_is_missing_among_the_failures_is_named(api: Api, control: Control) -> None:
    assert "did not answer" not in Seen((await page(api)).body.decode()).text
    control.exchanges = Incomplete(control, (2,))
    assert Seen((await page(api)).body.decode()).text.count("worker 2 did not answer in time") == 2


async def test_the_slowest_that_were_answered_are_told_as_lb_why_tells_them(
    api: Api, add: Add, control: Control
) -> None:
    tape, web1 = Tape(control), add("web1")
    tape.plays("quick", web1, target=b"/quick")
    tape.plays("slow", web1, target=b"/slow", queued=0.5, ended=control.started + 4.0)
    tape.plays("failed", web1, target=b"/failed", status=504, reason=Reason.HTTP_RESPONSE_TIMEOUT)
    body = (await page(api)).body.decode()
    told = Seen(body.partition('id="slowest"')[2].partition("</section>")[0]).text
    [first, second] = (await api("GET", "/requests?slow=1&status=2xx")).json["items"]
    assert [first["id"], second["id"]] == ["slow", "quick"]
    assert f"3.0 sGET /slow{first['explain']}" in told
    assert "queue500 ms" in told
    assert told.index("/slow") < told.index("/quick")
    assert "/failed" not in told


async def test_the_policy_lets_nothing_in_and_the_page_needs_nothing(api: Api, add: Add) -> None:
    add("web1")
    answer = await page(api)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    for tag, attributes in Seen(answer.body.decode()).elements:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action", "formaction"):
            assert (attributes.get(name) or "/")[:1] in "/#", attributes
        assert tag != "script" or attributes == {"type": "module", "src": f"{PATH}/main.js"}


@pytest.mark.parametrize("file", ASSETS.files)
async def test_each_file_has_a_tag_and_is_kept_for_ever(api: Api, file: str) -> None:
    answer = await api("GET", f"{PATH}/{file}")
    assert (answer.status, answer.body) == (200, ASSETS.files[file].body)
    assert answer.headers["content-type"] == ASSETS.files[file].media_type
    assert answer.headers["cache-control"] == FOR_EVER
    again = await api("GET", f"{PATH}/{file}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    other = await api("GET", f"{PATH}/{file}", headers={"If-None-Match": '"another"'})
    assert other.status == 200


async def test_files_are_zipped_for_clients_that_take_that(api: Api) -> None:
    for accepted, encoding in (("gzip, br", "gzip"), ("*", "gzip"), ("gzip;q=0", None), ("br", None)):
        answer = await api("GET", f"{PATH}/main.js", headers={"Accept-Encoding": accepted})
        assert answer.headers.get("content-encoding") == encoding
        body = answer.body if encoding is None else gzip.decompress(answer.body)
        assert body == ASSETS.files["main.js"].body
        assert answer.headers["vary"] == "Accept-Encoding"


async def test_a_page_that_is_not_long_is_zipped_too(api: Api, add: Add) -> None:
    zipped = {"Accept-Encoding": "gzip"}
    answer = await page(api, **zipped)
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body).startswith(b"<!doctype html>")
    for number in range(50):
        add(f"web{number}")
    answer = await page(api, **zipped)
    assert "content-encoding" not in answer.headers
    assert answer.body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("file", ["page.html", "wording.py", "__init__.py", "%2e%2e%2fhome.py", "nope"])
async def test_there_is_no_other_file(api: Api, file: str) -> None:
    assert (await api("GET", f"{PATH}/{file}")).status == 404


async def test_there_is_no_other_release(api: Api) -> None:
    """The page refers to one release, and every change of a file makes another one."""
    seen = Seen((await page(api)).body.decode())
    links = [each.get("href") or each.get("src") or "" for _, each in seen.elements]
    assert {each.split("/")[2] for each in links if each.startswith("/page/")} == {ASSETS.release}
    assert (await api("GET", "/page/0123456789ab/main.js")).status == 404
    assert (await api("GET", "/page/main.js")).status == 404


@pytest.mark.parametrize("script", ASSETS.scripts)
def test_modules_import_each_other_by_relative_paths(script: str) -> None:
    """So all that one page runs is of its release; and each module is one that is served."""
    text = ASSETS.files[script].body.decode()
    imported = re.findall(r"^import .*? from '\./(\w+\.js)'$", text, re.MULTILINE)
    assert len(imported) == len(re.findall(r"^import\b", text, re.MULTILINE))
    assert set(imported) <= set(ASSETS.scripts)


async def test_all_of_it_is_small(api: Api, add: Add) -> None:
    zipped = {"Accept-Encoding": "gzip, deflate, br"}
    files = [(await api("GET", f"{PATH}/{name}", headers=zipped)).body for name in ASSETS.files]
    assert sum(map(len, files)) + len((await page(api, **zipped)).body) <= MOST_BYTES
    before = len((await page(api)).body)
    for number in range(100):
        add(f"web{number}")
    assert len((await page(api)).body) - before < 100 * 2600


async def test_what_others_have_named_is_only_text(api: Api, add: Add, control: Control) -> None:
    tape = Tape(control)
    backend = add("web1", labels={"rack": HOSTILE})
    backend.spec = backend.spec.__class__(id=HOSTILE, url="http://10.0.0.1:80", labels={"rack": HOSTILE})
    tape.plays("1", backend, status=502, reason=Reason.CONNECTION_REFUSED, target=f"/{HOSTILE}".encode())
    body = (await page(api)).body.decode()
    seen = Seen(body)
    assert "<img" not in body
    assert not [tag for tag, _ in seen.elements if tag == "img"]
    assert f"GET /{HOSTILE}" in seen.text
    assert HOSTILE in [attributes.get("data-id") for _, attributes in seen.elements]
    assert "/backends/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%22%26%27%7B%7B7%2A7%7D%7D/drain" in body


async def test_without_the_token_it_has_no_numbers(make_api: MakeApi, add: Add) -> None:
    api = make_api(AdminConfig(), TOKEN)
    answer = await api("POST", "/backends", form="url=http://10.0.0.1&id=web1", headers=bearer(TOKEN))
    assert answer.status == 201
    for headers in ({}, bearer("wrong")):
        assert b"web1" not in (await page(api, **headers)).body
    assert b"web1" in (await page(api, **bearer(TOKEN))).body
    for file in ASSETS.files:
        assert (await api("GET", f"{PATH}/{file}")).status == 200
    assert (await api("GET", "/")).status == 401  # for the cheat sheet is of no use without one
    assert (await api("GET", "/", headers=bearer(TOKEN))).status == 200
    for path in ("/stats", "/events", "/requests", "/page", "/nope"):
        assert (await api("GET", path)).status == 401


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_the_title_tells_how_the_whole_is(api: Api, add: Add, control: Control) -> None:
    async def title() -> str:
        body = (await page(api)).body.decode()
        found = re.search(r"<title>(.*) trio-lb</title>.*href=\"/page/\w+/(\w+)\.svg\"", body, re.DOTALL)
        assert found is not None
        return f"{found[1]} {found[2]}"

    add("web1")
    assert await title() == "✓ ok"
    await api("POST", "/drain")
    assert await title() == "◌ leaving warn"
    await api("POST", "/backends/web1/maintenance")
    assert await title() == "✗ default has nobody bad"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (0.94, "0.9"),
        (7.0, "7"),
        (99.96, "100.0"),
        (123.4, "123"),
        (12345.0, "12.3k"),
        (2e6, "2.0M"),
    ],
)
def test_rates_are_short(value: float, written: str) -> None:
    assert wording.rate(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.0004, "0.4 ms"), (0.00999, "10 ms"), (0.0421, "42 ms"), (0.9999, "1.0 s"), (12.2, "12 s")],
)
def test_latencies_are_short(seconds: float, written: str) -> None:
    assert wording.took(seconds) == wording.quantile(seconds) == written


def test_of_a_quantile_above_the_last_bucket_only_the_bound_is_written() -> None:
    assert [wording.quantile(each) for each in (None, 29.4, LONGEST_TOLD)] == [
        wording.NOTHING,
        "29 s",
        ">30 s",
    ]
    assert f"LONGEST_TOLD = {LONGEST_TOLD:g}\n" in ASSETS.files["wording.js"].body.decode()


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.4, "0:00"), (61.0, "1:01"), (3725.0, "1h 02m"), (200000.0, "2d 7h")]
)
def test_spans_are_short(seconds: float, written: str) -> None:
    assert wording.span(seconds) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.4, "0 s"), (59.9, "59 s"), (61.0, "1 min"), (7300.0, "2 h"), (200000.0, "2 d")],
)
def test_how_long_it_has_been_so_is_short(seconds: float, written: str) -> None:
    assert wording.ago(seconds) == written


def test_of_the_checks_the_newest_stands_at_the_right_end() -> None:
    assert shapes.ticks(".x", ".") == "M56.5 9v3"
    assert shapes.ticks(".x", "x") == "M58.5 0v12"
    assert shapes.ticks("." * shapes.CHECKS, ".").startswith("M0.5 ")
    assert wording.checked(".x.") == "2 of the last 3 checks passed"
    assert wording.checked("") == ""


async def test_the_log_tells_what_has_happened(api: Api, add: Add, control: Control) -> None:
    EventPublisher(control)
    add("web1")
    await api("POST", "/backends/web1/drain?wait=1s")
    await api("PATCH", "/pools/default", form="policy=ewma")
    await api("POST", "/drain")
    page_text = Seen((await page(api)).body.decode()).text
    for line in ("web1added", "web1draining · 0 in flight", "web1drained · in ", "configured · policy"):
        assert line in page_text
    assert page_text.index("balancerdraining") < page_text.index("pool defaultconfigured")


async def test_the_log_tells_who_did_it(make_api: MakeApi) -> None:
    api = make_api(AdminConfig(), TOKEN)
    EventPublisher(api.control)
    await api("POST", "/backends", form="url=http://10.0.0.1&id=web1", headers=bearer(TOKEN))
    text = Seen((await page(api, **bearer(TOKEN))).body.decode()).text
    assert "web1added · http://10.0.0.1 · by admin" in text


async def test_nobody_is_named_where_no_token_is_needed(api: Api, control: Control) -> None:
    EventPublisher(control)
    await api("POST", "/backends", form="url=http://10.0.0.1&id=web1")
    assert "anonymous" not in Seen((await page(api)).body.decode()).text.partition("Events")[2]


def test_attempts_that_failed_are_no_answers_with_5xx() -> None:
    codes = Codes(ok=90, broken=3, failed=7)
    assert plain(wording.mistakes(codes)) == "3 × 5xx 7 × failed of 100"  # noqa: RUF001
    assert plain(wording.client_mistakes(codes)) == "3 × 5xx of 93"  # noqa: RUF001


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_a_long_name_is_cut_in_its_middle() -> None:
    assert wording.middle("web1") == "web1"
    cut = wording.middle("a-very-long-backend-name-in-frankfurt-17")
    assert len(cut) == wording.LONGEST_NAME
    assert cut.startswith("a-very-long")
    assert cut.endswith("frankfurt-17")


def test_nothing_is_written_as_a_dash() -> None:
    assert {wording.rate(None), wording.percent(None), wording.took(None), wording.mistakes(Codes())} == {
        wording.NOTHING
    }


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize("ground", ["back", "panel", "raised", "soft"])
@pytest.mark.parametrize("ink", ["text", "muted", "accent", "ok", "warn", "bad", "off"])
def test_everything_can_be_read(scheme: int, ground: str, ink: str) -> None:
    colours = dict(
        re.findall(r"--(\w+): (#\w+);", ASSETS.files["page.css"].body.decode().split(":root {")[scheme + 1])
    )
    light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_bar_is_filled_from_end_to_end() -> None:
    bars = shapes.stack(Codes(ok=5, redirected=1, refused=1, broken=1, failed=2))
    ends = [(float(x[:-1]), float(width[:-1])) for _, x, width in bars]
    assert [x + width for x, width in ends][-1] == 100
    assert all(x + width == other for (x, width), (other, _) in pairwise(ends))


def test_a_line_ends_at_the_right_and_stays_inside() -> None:
    points = [tuple(map(float, point.split(","))) for point in shapes.spark([1, None, 4, 0]).split(" ")]
    assert points[-1][0] == shapes.WIDTH
    assert all(0 <= y <= shapes.HEIGHT for _, y in points)
    assert shapes.spark([3.0]) == shapes.area([]) == ""


def test_where_nothing_was_measured_a_line_falls_to_zero_at_once() -> None:
    heights = [float(point.split(",")[1]) for point in shapes.spark([4.0, None, None, 4.0]).split(" ")]
    assert heights == [2.0, 29.0, 29.0, 2.0]
    assert wording.peak_of([1.0, None, 4.0], "rate") == "peak 4/s"
    assert wording.peak_of([], "rate") == ""
