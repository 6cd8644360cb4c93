"""Lines of debug level: none where that is not the level, and then what was decided."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
import trio

import lb
from lb.errors import Reason
from lb.observe import log_level
from lb.observe.decision_log import MOST_A_SECOND, DecisionLog
from lb.observe.log_level import use
from lb.observe.program_log import configure
from lb.settings.balancer_settings import LogLevel
from tests.observe.test_access_log import exchange_of, retried


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """Afterwards the log is as it was."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    for name in (*log_level.OURS, "audit"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.handlers[:], root.level = handlers, level
    structlog.configure(**before)


@pytest.mark.usefixtures("log_as_before")
@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("debug", ["debug", "info", "warning", "audit"]),
        ("info", ["info", "warning", "audit"]),
        ("warning", ["warning", "audit"]),
    ],
)
def test_lines_from_a_level_on(level: LogLevel, said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    configure(json=True)
    use(level)
    ours = structlog.get_logger("lb.somewhere")
    ours.debug("debug")
    ours.info("info")
    ours.warning("warning")
    structlog.get_logger("audit").info("audit")
    structlog.get_logger("hypercorn").debug("of a library")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == said


@pytest.mark.usefixtures("log_as_before")
async def test_each_decision_about_an_exchange_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(json=True)
    use("debug")
    exchange = retried()
    exchange.reason = Reason.DNS_ERROR
    DecisionLog().finished(exchange)
    first, second, ended = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["event"], first["backend"], first["error"]) == ("attempt", "web1", "connection_refused")
    assert (first["then"], second["backend"]) == ("another one", "web2")
    assert (ended["event"], ended["id"], ended["queue_ms"]) == ("exchange", "id7", 20.0)


@pytest.mark.usefixtures("log_as_before")
async def test_a_second_has_few_of_them(capsys: pytest.CaptureFixture[str], autojump_clock: object) -> None:
    configure(json=True)
    use("debug")
    decisions = DecisionLog()
    for _ in range(MOST_A_SECOND + 7):
        decisions.finished(exchange_of())
    assert len(capsys.readouterr().err.splitlines()) == MOST_A_SECOND
    await trio.sleep(1)
    decisions.finished(exchange_of())
    told, _ = capsys.readouterr().err.splitlines()
    assert json.loads(told)["more"] == 7


async def test_nothing_is_told_of_exchanges_unless_the_level_is_debug() -> None:
    config = lb.build({"listen": ["127.0.0.1:0"], "admin": {"enabled": False}})
    async with lb.open_balancer(config) as balancer:
        context = balancer.traffic.context
        before = context.observers
        balancer.control.log_levels.choose("debug")
        assert len(context.observers) == len(before) + 1
        balancer.control.log_levels.choose(None)
        assert context.observers == before
        balancer.control.log_levels.choose("error")
        assert context.observers == before
    for name in (*log_level.OURS, "audit"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
