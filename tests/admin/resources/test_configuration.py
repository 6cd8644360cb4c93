"""/config: what we go by, what a reload would change, and the reload itself."""

import errno
import re
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import trio

from admin.event_publisher import EventPublisher
from admin.page.event_log import log_line
from lb.certificate_files.termination import Termination
from lb.config.config_source import ConfigSource
from lb.config.loader import build
from lb.config.reload import Reloader
from lb.control import Control
from lb.core.routes import Routes
from lb.observe.audit_trail import LONGEST_TEXT
from lb.process import reload_on_signal
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import Config
from lb.settings.pool_settings import PoolSettings
from tests.admin.kit import EPOCH, Answer, Api, MakeApi, Saves, is_problem
from tests.kit.certificates import certificate
from tests.kit.held import holding

FILE = """
via = "file"
trusted_proxies = ["10.0.0.0/8"]
[timeouts]
connect = "1s"
send = "1s"
[pools.default]
queue = 3
backends = [{id = "web1", url = "http://10.0.0.1", labels = {rack = "a"}}, {id = "web2", url = "http://10.0.0.2"}]
[pools.default.probe]
fields = {X-Token = "s3cret", Accept = "*/*"}
"""
TOML = {"Content-Type": "application/toml"}

Write = Callable[[str], object]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lb.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
async def adopted(control: Control, file: Path) -> list[Config]:
    """The balancer was started from the file, with a flag; the configurations that it has taken on since."""
    source = ConfigSource(file, {"timeouts": {"send": 9}})
    control.config = source.read()
    pool = control.config.pools["default"]
    control.registry.configure(control.registry.pools["default"], pool.settings)
    for spec in pool.backends:
        control.registry.add(spec, "default", "config")
    adopted: list[Config] = []
    control.reload = Reloader(source, control, lambda config, _routes: adopted.append(config))
    return adopted


@pytest.fixture
async def write(file: Path, adopted: list[Config]) -> Write:
    return file.write_text


def settings(answer: Answer) -> dict[str, tuple[Any, str]]:
    return {each["key"]: (each["value"], each["origin"]) for each in answer.json["items"]}


def changed(answer: Answer) -> dict[str, tuple[Any, Any]]:
    return {each["key"]: (each["before"], each["after"]) for each in answer.json["settings"]}


def counted(control: Control) -> tuple[int, int]:
    reloads = control.metrics.config_reloads
    return reloads["success"], reloads["failure"]


# -- GET /config ----------------------------------------------------------------------------------------


async def test_every_key_has_its_value_and_its_origin(
    api: Api, control: Control, write: Write, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LB_ADMIN_TOKEN", "s3cret")
    pool = control.registry.pools["default"]
    control.registry.add(BackendSpec(id="new", url="http://10.0.0.3"))
    control.registry.remove(control.registry.backend("web2"))
    control.registry.configure(pool, PoolSettings(queue=8, probe=pool.settings.probe))
    answer = await api("GET", "/config")
    shown = settings(answer)
    assert shown["via"] == ("file", "file")
    assert shown["timeouts.connect"] == (1.0, "file")
    assert shown["timeouts.send"] == (9.0, "flag")
    assert shown["timeouts.queue"] == (30.0, "default")
    assert shown["limits.connections"] == (None, "default")
    assert shown["trusted_proxies"] == (["10.0.0.0/8"], "file")
    assert shown["admin.token"] == ("(hidden)", "environment")
    assert shown["pools.default.queue"] == (8, "runtime")
    assert shown["pools.default.probe.path"] == ("/", "default")
    assert shown["pools.default.probe.fields.X-Token"] == ("(hidden)", "file")
    assert shown["pools.default.probe.fields.Accept"] == ("*/*", "file")
    web1 = {"id": "web1", "url": "http://10.0.0.1", "weight": 1, "backup": False, "labels": {"rack": "a"}}
    assert shown["pools.default.backends.web1"] == (web1, "file")
    assert shown["pools.default.backends.web2"] == (None, "runtime")
    assert shown["pools.default.backends.new"][1] == "runtime"
    by_key = {each["key"]: each for each in answer.json["items"]}
    assert by_key["pools.default.queue"]["configured"] == 3
    assert by_key["pools.default.backends.web2"]["configured"]["url"] == "http://10.0.0.2"
    assert by_key["pools.default.backends.new"]["configured"] is None
    assert "configured" not in by_key["via"]
    assert answer.json["file"] == str(file)
    assert answer.json["loaded"].startswith("2027-01-15T08:00:0")
    assert answer.json["revision"] == control.registry.revision
    assert b"s3cret" not in answer.body


async def test_it_can_be_had_as_a_file(api: Api, control: Control, write: Write) -> None:
    control.registry.add(BackendSpec(id="new", url="http://10.0.0.3", labels={'a "b"\x7f': "é\n"}))
    answer = await api("GET", "/config?format=toml")
    assert answer.headers["content-type"] == "application/toml; charset=utf-8"
    text = answer.body.decode()
    assert "timeouts.send = 9.0  # flag\n" in text
    assert '# pools.default.probe.fields.X-Token = "(hidden)"  # file\n' in text
    assert "s3cret" not in text
    wanted = build({**tomllib.loads(FILE), "timeouts": {"connect": 1, "send": 9}})
    read = build(tomllib.loads(text))
    *old, new = read.pools["default"].backends
    assert tuple(old) == wanted.pools["default"].backends
    assert new == control.registry.backend("new").spec
    assert (read.timeouts, read.limits, read.admin.listen) == (
        wanted.timeouts,
        wanted.limits,
        "127.0.0.1:9000",
    )
    assert read.pools["default"].settings.queue == 3


async def test_a_file_with_many_routes_can_be_judged_again(
    api: Api, write: Write, adopted: list[Config]
) -> None:
    routes = [f'[[routes]]\nhost = "h{number}.example.com"\npool = "backends"' for number in range(300)]
    write("\n".join([FILE, "[pools.backends]", "queue = 7", *routes]))
    assert (await api("POST", "/config/reload")).status == 200
    text = (await api("GET", "/config?format=toml")).body.decode()
    assert '\nroutes = [\n  {host = "h0.example.com", path = "/", pool = "backends"},  # file\n' in text
    read = build(tomllib.loads(text))
    assert read.routes == adopted[0].routes
    assert read.pools["backends"].settings.queue == 7
    answer = await api("POST", "/config/validate", body=text.encode(), headers=TOML)
    assert (answer.status, "routes" in changed(answer)) == (200, False)


@pytest.mark.parametrize("query", ["", "?format=toml"])
async def test_to_show_thousands_of_them_does_not_hold_the_loop(
    api: Api, control: Control, write: Write, adopted: list[Config], query: str
) -> None:
    routes = [{"host": f"h{number}.example.com", "pool": "default"} for number in range(20_000)]
    control.config = build({"routes": routes})
    longest: list[float] = []
    while len(longest) < 10 and min(longest, default=1.0) >= 0.01:  # the best of a few
        with holding() as held:
            assert (await api("GET", f"/config{query}")).status == 200
        longest.append(held.longest)
    assert min(longest) < 0.01, held.task


async def test_without_a_source_everything_is_a_default_or_changed(api: Api, control: Control) -> None:
    control.registry.add(BackendSpec(id="new", url="http://10.0.0.3"))
    answer = await api("GET", "/config")
    assert {origin for _, origin in settings(answer).values()} == {"default", "runtime"}
    assert (answer.json["file"], answer.json["loaded"]) == (None, None)


async def test_the_token_is_asked_for(make_api: MakeApi) -> None:
    api = make_api(Config().admin, "s3cret")
    assert (await api("GET", "/config")).status == 401
    assert (await api("POST", "/config/reload")).status == 401


# -- POST /config/reload --------------------------------------------------------------------------------


async def test_a_reload_goes_by_the_file_as_it_is_now(
    api: Api, control: Control, write: Write, adopted: list[Config], saves: Saves
) -> None:
    write(
        FILE.replace("queue = 3", "queue = 4")
        .replace('"1s"', '"2s"')
        .replace('"web2"', '"web3"')
        .replace("s3cret", "s4cret")
        + '[[routes]]\nhost = "a"\npool = "api"\n[pools.api]\n'
    )
    control.registry.add(BackendSpec(id="extra", url="http://10.0.0.9"))
    answer = await api("POST", "/config/reload")
    assert answer.status == 200
    route = {"host": "a", "path": "/", "pool": "api"}
    assert changed(answer) == {
        "timeouts.connect": (1.0, 2.0),
        "routes": ([], [route]),
        "pools.default.queue": (3, 4),
        "pools.default.probe.fields.X-Token": ("(hidden)", "(hidden)"),
    }
    told = answer.json
    assert told["pools"] == {"added": ["api"], "changed": ["default"], "emptied": []}
    assert told["backends"] == {
        "added": [{"id": "web3", "pool": "default", "changes": []}],
        "changed": [],
        "removed": [{"id": "web2", "pool": "default", "changes": []}],
    }
    why = "added at runtime, and not in the file"
    assert told["kept"] == [{"key": "pools.default.backends.extra", "why": why}]
    assert (told["applied"], told["changed"], told["persisted"]) == (True, True, True)
    assert told["source"].endswith("lb.toml with flags")
    assert told["needs_restart"] == []
    assert b'cret"' not in answer.body
    assert adopted == [control.config]
    assert control.config.timeouts.send == 9.0
    assert list(control.registry.backends) == ["web1", "extra", "web3"]
    assert (counted(control), saves.count) == ((1, 0), 1)
    assert settings(await api("GET", "/config"))["routes"] == ([route], "file")
    again = await api("POST", "/config/reload")
    assert (again.json["changed"], again.json["summary"]) == (
        False,
        "nothing changed, kept as changed at runtime: 1",
    )


async def test_each_reload_is_an_event_whether_it_goes_well_or_not(
    api: Api, control: Control, write: Write
) -> None:
    EventPublisher(control)
    assert control.reload is not None
    reader = control.feed.join(frozenset({"config"}))
    write("via = 'two'")
    await api("POST", "/config/reload")
    write('[timeouts]\nconect = 1\n[[routes]]\npool = "no"')
    await api("POST", "/config/reload")
    write(f"{'x' * 5000} = 1")
    await reload_on_signal(control)
    found = re.findall(rb"data: (.*)\n", reader.take())
    good, bad, long = (data for data in map(msgspec.json.decode, found) if "reloaded" in data["kind"])
    assert good.pop("at") <= bad.pop("at")
    assert good["kind"] == "reloaded"
    assert "settings changed: " in good["detail"]
    assert bad == {
        "kind": "not reloaded",
        "detail": "line 2: timeouts.conect: unknown key, did you mean `connect`?",
        "by": "anonymous",
    }
    assert long["by"] == "signal"
    assert log_line(long).subject == "balancer"
    assert log_line(long).what.endswith(" · by signal")
    assert len(long["detail"]) == LONGEST_TEXT


async def test_a_reload_that_failed_is_in_the_audit(api: Api, control: Control, write: Write) -> None:
    assert control.reload is not None
    write("via = ")
    with structlog.testing.capture_logs() as logged:
        await api("POST", "/config/reload")
        await reload_on_signal(control)
    told = [(line["who"], line["status"]) for line in logged if line["event"] == "audit"]
    assert told == [("anonymous", 422), ("signal", None)]
    by_signal, by_api = (await api("GET", "/audit")).json["items"]
    assert (by_api["operation"], by_api["status"]) == ("POST /config/reload", 422)
    assert (by_signal["who"], by_signal["source"], by_signal["status"]) == ("signal", "SIGHUP", None)
    for each in (by_api, by_signal):
        assert (each["changes"], "line 1, column 7: Invalid value" in each["why"]) == ({}, True)


async def test_a_reload_that_a_worker_refuses_is_no_success(
    api: Api, control: Control, file: Path, write: Write, saves: Saves
) -> None:
    """It holds in the others, so it is saved, and what it has changed is in the audit."""
    why = "worker 2 goes on with the settings that it had: access_log.file: /log cannot be opened"

    async def refusals() -> list[str]:
        await trio.lowlevel.checkpoint()
        return [why]

    source = ConfigSource(file, {"timeouts": {"send": 9}})
    control.reload = Reloader(source, control, lambda _config, _routes: None, refusals=refusals)
    EventPublisher(control)
    reader = control.feed.join(frozenset({"config"}))
    write("via = 'two'")
    answer = await api("POST", "/config/reload")
    assert (answer.status, answer.json["detail"], is_problem(answer)) == (500, why, True)
    assert (counted(control), saves.count, control.config.via) == ((0, 1), 1, "two")
    write("via = 'three'")
    await reload_on_signal(control)
    assert (counted(control), saves.count, control.config.via) == ((0, 2), 2, "three")
    by_signal, by_api = control.audit.newest()
    assert (by_api.status, by_api.why, by_api.changes["via"]) == (500, why, ("file", "two"))
    assert (by_signal.who, by_signal.why, by_signal.changes["via"]) == ("signal", why, ("two", "three"))
    found = [msgspec.json.decode(data) for data in re.findall(rb"data: (.*)\n", reader.take())]
    assert [each["detail"] for each in found if each["kind"] == "not reloaded"] == [why, why]


@pytest.mark.parametrize(
    ("text", "detail", "pointers"),
    [
        ("via = ", "line 1, column 7: Invalid value", []),
        (
            '[timeouts]\nconect = 1\n[[routes]]\npool = "no"',
            "lb.toml with flags: 2 mistakes",
            ["#/timeouts/conect", "#/routes/0/pool"],
        ),
        (
            '[pools.default]\npolicy = "lb.config.config_source:No"',
            "has no class No",
            ["#/pools/default/policy"],
        ),
        ('[admin]\nlisten = ":1"', "line 2: admin.listen: :1 can be reached", ["#/admin/listen"]),
    ],
)
async def test_a_broken_file_changes_nothing_and_says_why(
    api: Api,
    control: Control,
    write: Write,
    adopted: list[Config],
    text: str,
    detail: str,
    pointers: list[str],
) -> None:
    before, revision, loaded = control.config, control.registry.revision, control.metrics.config_loaded_at
    write(text)
    for path in ("/config/validate", "/config/reload"):
        answer = await api("POST", path)
        assert (answer.status, answer.json["type"]) == (422, "/problems/validation")
        assert detail in answer.json["detail"]
        errors = answer.json.get("errors", ())
        assert [each["pointer"] for each in errors] == pointers
        assert all(each["line"] > 1 for each in errors)
    assert (control.config, control.registry.revision, adopted) == (before, revision, [])
    assert counted(control) == (0, 1)
    assert control.metrics.config_loaded_at == loaded


async def test_a_file_that_is_gone_is_said(api: Api, write: Write, file: Path) -> None:
    await trio.Path(file).unlink()
    answer = await api("POST", "/config/reload")
    assert (answer.status, answer.json["detail"]) == (
        422,
        f"{file}: cannot be read: No such file or directory",
    )


async def test_without_a_source_there_is_nothing_to_read_again(api: Api) -> None:
    for path in ("/config/validate", "/config/reload"):
        answer = await api("POST", path)
        assert (answer.status, answer.json["type"]) == (409, "/problems/conflict")
        assert "not started from a file" in answer.json["detail"]


async def test_reloads_are_counted_in_the_metrics(api: Api, write: Write) -> None:
    await api("POST", "/config/reload")
    write("x")
    await api("POST", "/config/reload")
    text = (await api("GET", "/metrics")).body.decode()
    assert 'lb_config_reloads_total{result="success"} 1.0' in text
    assert 'lb_config_reloads_total{result="failure"} 1.0' in text
    [loaded] = re.findall(r"^lb_config_last_reload_success_timestamp_seconds (.*)$", text, re.MULTILINE)
    assert float(loaded) >= EPOCH


async def test_the_routes_are_made_in_a_thread(
    api: Api, control: Control, write: Write, adopted: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[threading.Thread] = []
    taken: list[Routes] = []

    def routes(*args: Any, **kwargs: Any) -> Routes:
        made.append(threading.current_thread())
        return Routes(*args, **kwargs)

    assert control.reload is not None
    monkeypatch.setattr("lb.config.reload.Routes", routes)
    monkeypatch.setattr(control.reload, "_adopt", lambda _config, routes: taken.append(routes))
    write('path_policy = "exact"\n[[routes]]\npath = "/a"\npool = "api"\n[pools.api]')
    assert (await api("POST", "/config/reload")).status == 200
    [thread], [found] = made, taken
    assert thread is not threading.main_thread()
    assert [found.pool_for(b"a", path) for path in (b"/a", b"/%61", b"//a")] == ["api", "default", "default"]


async def test_a_signal_reloads_and_no_trouble_of_it_reaches_anybody(
    control: Control, write: Write, adopted: list[Config], saves: Saves
) -> None:
    assert control.reload is not None
    saves.error = OSError(errno.ENOSPC, "No space left on device", "state.json")
    write("via = 'two'")
    with structlog.testing.capture_logs() as logged:
        await reload_on_signal(control)
        write("via = ")
        await reload_on_signal(control)
        write("via = 'three'")
        control.reload._adopt = lambda _config, _routes: [][1]
        await reload_on_signal(control)
    assert [config.via for config in adopted] == ["two"]
    assert [(line["log_level"], line["event"]) for line in logged] == [
        ("info", "configuration reloaded"),
        ("info", "audit"),
        ("error", "state not saved"),
        ("error", "configuration not reloaded"),
        ("info", "audit"),
        ("error", "bug in a reload"),
    ]
    assert (logged[1]["source"], logged[1]["changes"]["via"]) == ("SIGHUP", ("file", "two"))
    assert control.reload.source.file is not None
    assert "s3cret" not in str(logged)


async def test_names_that_are_allowed_are_so_after_a_reload(api: Api, write: Write) -> None:
    called = {"Host": "lb.example"}
    assert (await api("GET", "/config", headers=called)).status == 421
    write('[admin]\nallowed_hosts = ["lb.example"]')
    await api("POST", "/config/reload")
    assert (await api("GET", "/config", headers=called)).status == 200


# -- POST /config/validate ------------------------------------------------------------------------------


async def test_a_body_is_judged_and_nothing_is_changed(
    api: Api, control: Control, write: Write, saves: Saves
) -> None:
    before, revision = control.config, control.registry.revision
    toml = FILE.replace('"1s"', '"2s"') + "[limits]\nfields = 7\n"
    as_json = {**tomllib.loads(FILE), "limits": {"fields": 7}, "timeouts": {"connect": "2s"}}
    answers = [
        await api("POST", "/config/validate", body=toml.encode(), headers=TOML),
        await api("POST", "/config/validate", form=toml),
        await api("POST", "/config/validate", json=as_json),
        await api(
            "POST",
            "/config/validate",
            json=as_json,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ),
    ]
    for answer in answers:
        assert answer.status == 200
        assert changed(answer) == {"timeouts.connect": (1.0, 2.0), "limits.fields": (100, 7)}
        assert (answer.json["applied"], answer.json["source"]) == (False, "the body")
        assert "persisted" not in answer.json
    assert (control.config, control.registry.revision, saves.count) == (before, revision, 0)
    assert counted(control) == (0, 0)


async def test_without_a_body_the_file_is_judged(api: Api, control: Control, write: Write) -> None:
    write(FILE.replace('"web2"', '"web3"'))
    answer = await api("POST", "/config/validate")
    assert [each["id"] for each in answer.json["backends"]["added"]] == ["web3"]
    assert (answer.json["applied"], answer.json["source"][-18:]) == (False, "lb.toml with flags")
    assert list(control.registry.backends) == ["web1", "web2"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"via = ", "application/toml", 400, "the body, line 1"),
        (b"\xff", "application/toml", 400, "UTF-8"),
        (b"{", "application/json", 400, "truncated"),
        (b"[]", "application/json", 400, "object"),
        (b"a = " + b"[" * 9000, "application/toml", 400, "nested"),
        (b'{"a":' * 9000, "application/json", 400, ""),  # how deep is too deep is a matter of the Python
        (b"via = 'x'", "text/plain", 415, "application/toml"),
        (b"vai = 'x'\nlisten = 3", "application/toml", 422, "2 mistakes"),
        (b'{"timeouts": {"connect": null}, "pools": 1}', "application/json", 422, "2 mistakes"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_is_wrong_with_a_body_is_said(
    api: Api, write: Write, body: bytes, kind: str, status: int, said: str
) -> None:
    answer = await api("POST", "/config/validate", body=body, headers={"Content-Type": kind})
    assert answer.status == status
    assert said in answer.json["detail"]


async def test_a_body_without_a_source_is_compared_with_what_holds(api: Api) -> None:
    answer = await api("POST", "/config/validate", body=b"via = 'x'", headers=TOML)
    assert changed(answer) == {"via": ("lb", "x")}
    answer = await api("POST", "/config/validate", body=b"vai = 'x'", headers=TOML)
    assert (answer.status, answer.pointers) == (422, ["#/vai"])


async def test_a_body_has_no_code_imported_and_no_file_read(
    api: Api, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lb.core.policies.custom.import_module", pytest.fail)
    text = """
        [admin]
        token_file = "/etc/shadow"
        [pools.default]
        policy = "os:system"
        sticky = {secret_file = "/etc/shadow"}
    """
    answer = await api("POST", "/config/validate", body=text.encode(), headers=TOML)
    assert answer.status == 200
    assert answer.json["unchecked"] == ["pools.default.policy", "pools.default.sticky.secret_file"]
    assert [each["key"] for each in answer.json["needs_restart"]] == ["admin.token_file"]


async def test_openapi_describes_what_is_sent_and_answered(api: Api) -> None:
    document = (await api("GET", "/openapi.json")).json
    validate = document["paths"]["/config/validate"]["post"]
    assert validate["requestBody"]["content"]["application/toml"] == {"schema": {"type": "string"}}
    assert {"200", "400", "409", "415", "422"} <= validate["responses"].keys()
    reloaded = document["components"]["schemas"]["Reloaded"]["properties"]
    assert {
        "applied",
        "changed",
        "pools",
        "backends",
        "kept",
        "needs_restart",
        "persisted",
    } <= reloaded.keys()
    assert "Configuration" in document["components"]["schemas"]


async def test_a_key_of_thousands_of_parts_is_not_read(api: Api) -> None:
    body = b"a." * 30_000 + b"a = 1"
    started = time.process_time()
    answer = await api("POST", "/config/validate", body=body, headers=TOML)
    assert (answer.status, answer.json["detail"]) == (400, "the body has a line with more than 500 dots")
    assert time.process_time() - started < 1.0


# -- files of certificates ---------------------------------------------------------------------------------


def over_tls(ca: str) -> str:
    return f'[pools.default]\nbackends = [{{id = "a", url = "https://a.test"}}]\ntls = {{ca = "{ca}"}}\n'


@pytest.mark.parametrize("path", ["/config/validate", "/config/reload"])
async def test_a_file_for_backends_that_cannot_be_used_is_refused_with_its_key(
    api: Api, control: Control, write: Write, path: str
) -> None:
    write(over_tls("/nowhere.pem"))
    answer = await api("POST", path)
    assert (answer.status, answer.pointers) == (422, ["#/pools/default/tls/ca"])
    assert "/nowhere.pem cannot be read: No such file" in str(answer.json)
    assert list(control.registry.backends) == ["web1", "web2"]


@pytest.mark.parametrize("path", ["/config/validate", "/config/reload"])
async def test_a_certificate_that_cannot_be_used_is_refused_with_its_key(
    api: Api, control: Control, write: Write, tmp_path: Path, path: str
) -> None:
    chain, key = certificate("a.test").write(tmp_path)
    text = 'listen = ["https://:0"]\n[[tls.certificates]]\nchain = "{}"\n' + f'key = "{key}"\n'
    assert control.reload is not None
    tables = tomllib.loads(text.format(chain))
    control.reload._certificates = termination = Termination(build(tables))
    write(text.format("/nowhere.pem"))
    answer = await api("POST", path)
    assert (answer.status, answer.pointers) == (422, ["#/tls/certificates/0/chain"])
    write(text.format(chain))
    assert (await api("POST", "/config/validate")).status == 200
    assert termination._prepared is None


async def test_files_of_certificates_in_a_body_are_not_read(api: Api) -> None:
    text = over_tls("/nowhere.pem") + '[[tls.certificates]]\nchain = "/nowhere.pem"\n'
    answer = await api("POST", "/config/validate", body=text.encode(), headers=TOML)
    assert answer.status == 200
    assert answer.json["unchecked"] == ["tls.certificates", "pools.default.tls.ca"]
