"""The reference has whatever there is: keys with their defaults, metrics, errors, events, operations."""

import re
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from admin.application import operations
from admin.protocol.attribute_docs import attribute_docs
from admin.reference.metric_reference import families
from admin.reference.no_balancer import no_balancer
from admin.reference.reference_book import CHEAP_FIRST, TOPICS, ReferenceBook
from admin.reference.settings_reference import EXAMPLES, settings_topic, tables
from admin.resources.events import TYPES
from lb.config.loader import build
from lb.control import Control
from lb.core.trouble_kinds import MEANS, THRESHOLDS
from lb.errors import Reason
from lb.observe.log_lines import LoggedAttempt, LoggedTls, Record
from tests.admin.kit import Api, FakeWorkers
from tests.kit.terminations import lasting, terminating

STRUCTS = [table.struct for table in tables()]


@pytest.fixture(scope="module")
def book() -> ReferenceBook:
    return ReferenceBook(lambda: operations(no_balancer()))


def uncommented(text: str) -> str:
    """The file with the tables of optional features in effect, and the pool x in place."""
    return re.sub(r"(?m)^# (\[+pools\.x\.(probe|hedge|sticky)\]|\w+ = (?!\.\.\.).*  # )", r"\1", text)


def test_it_is_a_file_with_the_defaults() -> None:
    shown = tomllib.loads(settings_topic().text)
    pool = shown["pools"].pop("x")
    default, plain = build(shown), build({})
    assert msgspec.structs.replace(default, pools=plain.pools) == plain
    assert build({"pools": {"default": pool}}).pools["default"].settings == plain.pools["default"].settings


@pytest.mark.parametrize("table", ["probe", "hedge", "sticky"])
def test_an_optional_table_has_its_defaults_too(table: str, book: ReferenceBook) -> None:
    shown = tomllib.loads(uncommented(book.look_up(f"pools.{table}")))["pools"]["x"]
    assert (
        build({"pools": {"default": shown}}).pools["default"].settings
        == build({"pools": {"default": {table: {}}}}).pools["default"].settings
    )


@pytest.mark.parametrize("table", [*EXAMPLES])
def test_an_example_is_a_file_that_can_be_used(table: str, book: ReferenceBook) -> None:
    assert book.look_up(table).startswith(f"# {EXAMPLES[table].splitlines()[0]}")
    lines = [line for line in EXAMPLES[table].splitlines() if line.startswith(" ") and "$" not in line]
    config = build(tomllib.loads("\n".join(lines)))
    assert getattr(config, table) != getattr(build({}), table)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_each_key_says_what_it_means(struct: type[msgspec.Struct]) -> None:
    docs = attribute_docs(struct)
    for key in struct.__struct_fields__:
        assert docs.get(key), key


def every_struct(hint: object) -> Iterator[type]:
    """The structs in a type, and those in their fields."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
        for each in get_type_hints(hint, include_extras=True).values():
            yield from every_struct(each)
    for each in getattr(hint, "__args__", ()):
        yield from every_struct(each)


def test_each_struct_of_the_configuration_has_its_table() -> None:
    assert {*every_struct(type(build({})))} == {*STRUCTS}


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("timeouts.connect", 'connect = "5s"'),
        ("limits.held", 'held = "64MiB"'),
        ("pools.default.retry.backoff", 'backoff = "25ms"'),
        ("pools.x.discover.every", '# every = "ttl"'),
        ("[admin]", "metrics_open = false                      # true or false, restart"),
        ("lb_requests_total", "lb_requests_total{listener, pool, method, code} counter"),
        ("LbDown", "LbDown critical, after 1m"),
        ("GET /backends", "GET /backends (read)"),
        ("/backends/{id}/drain", "POST /backends/{id}/drain (drain)"),
        ("x-real-ip", "    client: cut. trusted proxy: kept."),
        ("lb rollout", "lb rollout"),
        ("each_attempt[].reason", "each_attempt[].reason"),
    ],
)
def test_a_name_is_looked_up(book: ReferenceBook, word: str, line: str) -> None:
    assert line in book.look_up(word)


@pytest.mark.parametrize(("word", "topic"), [("troubles", "trouble"), ("metric", "metrics")])
def test_a_topic_is_found_in_the_singular_and_the_plural(book: ReferenceBook, word: str, topic: str) -> None:
    assert book.look_up(word) == book.topic(topic).text


def test_keys_of_one_name_are_told_apart_by_their_tables(book: ReferenceBook) -> None:
    heads = [line for line in book.look_up("max_in_flight").splitlines() if line.endswith(":")]
    assert heads == ["# In [pools.x]:", "# In [[pools.x.backends]]:", "# In [pools.x.discover.defaults]:"]
    assert book.look_up("interval").count("# In [pools.x.probe]:") == 1
    assert "# In " not in book.look_up("pools.x.probe")
    assert "# In [pools.x.probe]:" not in book.look_up("prob")


def test_what_only_the_texts_have_is_found_there(book: ReferenceBook) -> None:
    assert "status          What the client got; 499: it left before" in book.look_up("499")
    assert "\nconnection_write_timeout\n" in book.look_up("499")


@pytest.mark.parametrize("word", ["zzz", "ser(", "backend is"])
def test_a_word_that_no_text_has_or_too_many_is_not_there(book: ReferenceBook, word: str) -> None:
    with pytest.raises(LookupError, match="there is nothing about"):
        book.look_up(word)


def test_a_word_that_is_not_there_gets_a_hint(book: ReferenceBook) -> None:
    with pytest.raises(LookupError, match=r"about 'timeouts.conect'; did you mean `timeouts.connect`"):
        book.look_up("timeouts.conect")


def test_each_topic_is_in_the_contents_and_is_narrow(book: ReferenceBook) -> None:
    for name in TOPICS:
        assert re.search(rf"(?m)^  {name} +\S", book.contents())
        assert max(map(len, book.topic(name).text.splitlines())) <= 120


async def test_each_metric_is_described(
    api: Api, control: Control, crew: FakeWorkers, tmp_path: Path
) -> None:
    control.tls = terminating(tmp_path, lasting("www.test"))
    served = {each.name for each in parse((await api("GET", "/metrics")).body.decode())}
    ours = {name for name in served if name.startswith("lb_")}
    assert ours
    assert ours <= {each.name for each in families()}


@pytest.mark.parametrize("reason", [*Reason])
def test_each_error_is_described(book: ReferenceBook, reason: Reason) -> None:
    assert re.match(rf"{reason}\n    (\d|no answer)", book.look_up(reason))


def test_each_trouble_is_described() -> None:
    assert MEANS.keys() == THRESHOLDS.keys()


def test_each_trouble_says_when_it_is_told_and_when_it_is_over(book: ReferenceBook) -> None:
    told = " ".join(book.topic("trouble").text.split())
    assert "Told at once. Over at once." in told.partition("down")[2].partition("ejected")[0]
    assert "Told after 2 s. Over after 6 s." in told


def test_each_event_is_described(book: ReferenceBook) -> None:
    for each in TYPES:
        assert re.search(rf"\b{each}\b", book.look_up("events"))


def test_each_operation_is_described(book: ReferenceBook) -> None:
    for each in operations(no_balancer()):
        assert f"{each.method} {each.path} (" in book.topic("api").text


@pytest.mark.parametrize("struct", [Record, LoggedAttempt, LoggedTls])
def test_each_field_of_the_log_is_described(struct: type[msgspec.Struct]) -> None:
    assert attribute_docs(struct).keys() == {*struct.__struct_fields__}


async def test_the_api_serves_the_same_text(api: Api, book: ReferenceBook) -> None:
    for path, text in (
        ("/docs", book.contents()),
        ("/docs/timeouts", book.look_up("timeouts")),
        ("/docs/api", book.look_up("api")),
    ):
        answer = await api("GET", path)
        assert (answer.status, answer.body.decode()) == (200, text)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert (await api("GET", "/docs/nothing-like-it")).status == 404


async def test_a_browser_gets_it_with_links(api: Api, book: ReferenceBook) -> None:
    answer = await api("GET", "/docs/LbDown", headers={"Accept": "text/html,*/*;q=0.8"})
    page = answer.body.decode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert escape(book.look_up("LbDown")) in page
    assert '<a href="/docs/metrics">metrics</a>' in page
    assert "script" not in page


def test_a_name_is_looked_up_in_every_topic(book: ReferenceBook) -> None:
    assert sorted(CHEAP_FIRST) == sorted(TOPICS)
