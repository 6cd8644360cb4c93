"""/pools: what an operator sees of them, and changes while requests flow."""

import errno
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from admin.input.pool_input import typed
from lb.control import Control
from lb.errors import ConfigError
from lb.settings.balancer_settings import AdminConfig, Config, PoolConfig
from lb.settings.pool_settings import BackendTls, Ejection, Hedge, PoolSettings, Probe, Retry, Sticky
from tests.admin.kit import Add, Api, Hold, MakeApi, Saves
from tests.core.scene import Request

CLUMSY = "tests.admin.kit:Clumsy"


def settings(control: Control) -> PoolSettings:
    return control.registry.pools["default"].settings


def configure(control: Control, **pools: PoolConfig) -> None:
    """The file says this of pools."""
    control.config = Config(pools=pools)


async def test_pools(api: Api, add: Add, hold: Hold, control: Control) -> None:
    control.registry.add_pool("other", PoolSettings(policy="least_requests", queue=7))
    hold(add("web1"))
    add("web2", weight=0)
    answer = await api("GET", "/pools")
    view = answer.json["items"][0]
    assert view.pop("settings") == msgspec.json.decode(msgspec.json.encode(PoolSettings()))
    assert view == {
        "name": "default",
        "policy": "round_robin",
        "totals": {"backends": 2, "available": 1, "in_flight": 1},
        "queue": {"length": 0, "limit": 1024},
        "backends": ["web1", "web2"],
        "is_panicking": False,
        "retry_budget": {"left": 100, "spent": 0, "exhausted": 0},
        "hedged": 0,
        "policy_failures": None,
    }
    other = await api("GET", "/pools/other")
    assert other.json == answer.json["items"][1]
    assert other.headers["etag"] == answer.headers["etag"] == f'"{control.registry.revision}"'
    assert (await api("GET", "/pools/other", headers={"If-None-Match": other.headers["etag"]})).status == 304
    assert (await api("GET", "/pools?format=table")).body.decode().splitlines() == [
        "POOL     POLICY          BACKENDS  AVAILABLE  IN_FLIGHT  WAITING  PANIC",
        "default  round_robin            2          1          1        0",
        "other    least_requests         0          0          0        0",
    ]


async def test_a_form_changes_settings_as_people_type_them(api: Api, control: Control, saves: Saves) -> None:
    typed = (
        "policy=ewma&ejection.consecutive=5&ejection.ratio=0.25&slow_start=30s&queue_timeout=500ms"
        "&retry.body=64KiB&retry.statuses=502, 503&probe.path=/healthz&probe.status=200-299"
        "&probe.fields.X-From.Me=lb&sticky.secure=true&hedge.after=0.9"
    )
    answer = await api("PATCH", "/pools/default", form=typed)
    assert settings(control) == PoolSettings(
        policy="ewma",
        ejection=Ejection(consecutive=5, ratio=0.25),
        slow_start=30.0,
        queue_timeout=0.5,
        retry=Retry(body=65536, statuses=("502", "503")),
        probe=Probe(path="/healthz", status=("200-299",), fields={"X-From.Me": "lb"}),
        sticky=Sticky(secure=True),
        hedge=Hedge(after=0.9),
    )
    assert answer.json["settings"] == msgspec.json.decode(msgspec.json.encode(settings(control)))
    assert (answer.status, answer.json["persisted"], saves.count) == (200, True, 1)
    assert answer.headers["etag"] == f'"{control.registry.revision}"'


async def test_what_is_empty_is_the_default_again(api: Api, control: Control) -> None:
    await api(
        "PATCH", "/pools/default", form="policy=ewma&probe.path=/x&sticky.cookie=a&ejection.base=5&queue=3"
    )
    await api("PATCH", "/pools/default", form="policy=&probe=&sticky=&ejection.base=")
    assert settings(control) == PoolSettings(queue=3)
    merge = {"Content-Type": "application/merge-patch+json"}
    patch: Any = {"probe": {"path": "/x", "host": "a"}, "hedge": {}, "retry": {"attempts": 5}, "queue": None}
    await api("PATCH", "/pools/default", json=patch, headers=merge)
    assert settings(control) == PoolSettings(
        probe=Probe(path="/x", host="a"), hedge=Hedge(), retry=Retry(attempts=5)
    )
    patch = {"probe": {"host": None, "interval": "5s"}, "hedge": None, "retry": None}
    await api("PATCH", "/pools/default", json=patch, headers=merge)
    assert settings(control) == PoolSettings(probe=Probe(path="/x", interval=5.0))


async def test_settings_can_be_sent_back_as_they_came(api: Api, control: Control) -> None:
    fields = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Accept": "*/*"}
    patch = {"probe": {"fields": fields, "body": "ok"}, "sticky": {}, "retry": {"statuses": [503]}}
    seen = await api("PATCH", "/pools/default", json=patch)
    before, revision = settings(control), control.registry.revision
    assert before.probe is not None
    assert before.probe.fields == fields
    assert b"s3cret" not in seen.body
    assert seen.json["settings"]["probe"]["fields"]["Authorization"] == "(hidden)"
    again = await api("PATCH", "/pools/default", json=seen.json["settings"])
    assert (again.json, settings(control), control.registry.revision) == (seen.json, before, revision)
    assert b"s3cret" not in (await api("GET", "/pools")).body
    control.registry.add_pool("other")
    answer = await api("PATCH", "/pools/other", json=seen.json["settings"])
    assert answer.pointers == ["#/probe/fields/Authorization", "#/probe/fields/X-Api-Key"]


async def test_every_mistake_is_named_and_nothing_is_changed(
    api: Api, control: Control, saves: Saves
) -> None:
    patch = {
        "polcy": "ewma",
        "policy": "emwa",
        "queue": -1,
        "slow_start": "3 weeks",
        "panic": 1.5,
        "retry": [],
        "probe": {"path": "x", "pth": 1, "port": 0, "kind": "udp", "body": "*", "status": [200, "2xx"]},
        "hash": {"key": "field:a b"},
        "sticky": {"cookie": {"a": {"b": {}}}},
    }
    answer = await api("PATCH", "/pools/default", json=patch)
    assert answer.status == 422
    assert answer.pointers == [
        "#/polcy",
        "#/probe/pth",
        "#/policy",
        "#/queue",
        "#/slow_start",
        "#/panic",
        "#/probe/kind",
        "#/probe/path",
        "#/probe/status",
        "#/probe/body",
        "#/probe/port",
        "#/retry",
        "#/hash/key",
        "#/sticky/cookie",
    ]
    errors = answer.json["errors"]
    assert errors[0]["hint"] == "did you mean `policy`?"
    assert errors[2]["detail"] == "there is no policy 'emwa', did you mean `ewma`?"
    assert errors[5]["detail"] == "1.5 is not between 0 and 1"
    assert (settings(control), saves.count, control.registry.revision) == (PoolSettings(), 0, 0)


@pytest.mark.parametrize(
    ("form", "pointers"),
    [
        ("probe=&probe.path=/x", ["#/probe/path"]),
        ("probe.path=/x&probe=", ["#/probe"]),
        ("probe=on", ["#/probe"]),
        ("queue=many&sticky.secure=yes&panic=nan&retry.attempts=1.5", None),
        ("a.b.c.d=1&probe.x.y=1", ["#/a", "#/probe/x"]),
        ("=1&.=1", ["#//", "#/"]),
        ("hash.load=" + "9" * 5000, ["#/hash/load"]),
        ("probe.fields.a%20b=1", ["#/probe/fields"]),
    ],
)
async def test_no_form_is_an_error_of_ours(
    api: Api, control: Control, form: str, pointers: list[str] | None
) -> None:
    answer = await api("PATCH", "/pools/default", form=form)
    wanted = pointers or ["#/queue", "#/panic", "#/retry/attempts", "#/sticky/secure"]
    assert (answer.status, answer.pointers) == (422, wanted)
    assert settings(control) == PoolSettings()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'{"probe": {"fields": ' + b'{"a": ' * 900 + b"1" + b"}" * 902,
        b'{"panic": 1' + b"0" * 400 + b', "slow_start": 1' + b"0" * 400 + b', "queue": 1' + b"0" * 400 + b"}",
        b'{"queue": true}',
        b'{"policy": ["ewma"]}',
    ],
    ids=lambda body: body[:30].decode(),
)
async def test_no_body_is_an_error_of_ours(api: Api, control: Control, body: bytes) -> None:
    json = {"Content-Type": "application/json"}
    assert (await api("PATCH", "/pools/default", body=body, headers=json)).status == 422
    assert settings(control) == PoolSettings()


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("", str, None),
        ("5", int, 5),
        ("-5", int, -5),
        ("0.5", float, 0.5),
        ("30", float, 30),
        ("30s", float, "30s"),
        ("inf", float, "inf"),
        ("1_0", int, "1_0"),
        ("true", bool, True),
        ("yes", bool, "yes"),
        ("5", str, "5"),
        ("200, 300-399", tuple[str, ...], ["200", "300-399"]),
        ("x", None, "x"),
    ],
)
def test_what_a_form_means(text: str, kind: object, value: object) -> None:
    assert typed(text, kind) == value
    assert type(typed(text, kind)) is type(value)


async def test_conditions_and_unknown_pools(api: Api, add: Add, control: Control) -> None:
    add("web1")
    tag = (await api("GET", "/pools/default")).headers["etag"]
    assert (await api("PATCH", "/pools/default", form="queue=5", headers={"If-Match": '"99"'})).status == 412
    assert settings(control).queue == 1024
    assert (await api("PATCH", "/pools/default", form="queue=5", headers={"If-Match": tag})).status == 200
    assert (await api("PATCH", "/pools/default", form="queue=6", headers={"If-Match": tag})).status == 412
    assert (await api("PATCH", "/pools/nope", form="queue=5")).status == 404


async def test_the_token_is_asked_for(make_api: MakeApi) -> None:
    api = make_api(AdminConfig(), "s3cret")
    assert (await api("PATCH", "/pools/default", form="queue=5")).status == 401


async def test_settings_that_cannot_be_written_down_hold_in_memory(
    api: Api, control: Control, saves: Saves
) -> None:
    saves.error = OSError(errno.ENOSPC, "No space left on device", "state.json")
    answer = await api("PATCH", "/pools/default", form="queue=5")
    assert (answer.status, answer.json["type"]) == (500, "/problems/not-persisted")
    assert settings(control).queue == 5


# -- what only the configuration may name --------------------------------------------------------------


@pytest.mark.parametrize("policy", ["os:system", "antigravity:x", CLUMSY])
async def test_code_that_the_file_does_not_name_is_not_imported(
    api: Api, control: Control, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lb.core.policies.custom.import_module", pytest.fail)
    answer = await api("PATCH", "/pools/default", form=f"policy={policy}")
    assert (answer.status, answer.pointers) == (422, ["#/policy"])
    assert "code is not imported" in answer.json["errors"][0]["detail"]
    assert settings(control) == PoolSettings()


async def test_code_that_the_file_names_for_some_pool_may_be_used(
    api: Api, add: Add, control: Control
) -> None:
    configure(control, other=PoolConfig(policy=CLUMSY))
    web1 = add("web1")
    answer = await api("PATCH", "/pools/default", form=f"policy={CLUMSY}&sticky.cookie=a")
    assert answer.json["policy_failures"] == {"total": 0, "last": None}
    pool = control.registry.pools["default"]
    assert pool.policy.choose([web1], Request()) is web1
    failures = (await api("GET", "/pools/default")).json["policy_failures"]
    assert failures == {"total": 1, "last": "KeyError: 'nobody'"}
    configure(control)  # the file has changed, but what is used already may stay while other things change
    assert (await api("PATCH", "/pools/default", form="hash.load=2&queue=5")).status == 200


async def test_code_that_cannot_be_imported_changes_nothing(api: Api, control: Control) -> None:
    configure(control, other=PoolConfig(policy="no.such.module:Class"))
    answer = await api("PATCH", "/pools/default", form="policy=no.such.module:Class&queue=5")
    assert (answer.status, answer.pointers) == (422, ["#/policy"])
    assert "cannot import" in answer.json["errors"][0]["detail"]
    assert settings(control) == PoolSettings()


async def test_no_file_is_read_that_the_configuration_does_not_name(api: Api, control: Control) -> None:
    answer = await api("PATCH", "/pools/default", form="sticky.secret_file=/etc/passwd")
    assert (answer.status, answer.pointers) == (422, ["#/sticky/secret_file"])
    configure(control, other=PoolConfig(sticky=Sticky(secret_file="/run/key")))
    answer = await api("PATCH", "/pools/default", form="sticky.secret_file=/run/key&sticky.cookie=a")
    assert answer.json["settings"]["sticky"]["secret_file"] == "/run/key"
    assert (await api("PATCH", "/pools/default", form="sticky.secret_file=")).status == 200
    answer = await api("PATCH", "/pools/default", form="tls.ca=/etc/passwd&tls.chain=/a&tls.key=/b")
    assert (answer.status, answer.pointers) == (422, ["#/tls/ca", "#/tls/chain", "#/tls/key"])
    configure(control, other=PoolConfig(tls=BackendTls(ca="/run/ca", chain="/run/us")))
    answer = await api("PATCH", "/pools/default", form="tls.ca=/run/ca&tls.chain=/run/us")
    assert answer.json["settings"]["tls"]["ca"] == "/run/ca"
    assert (await api("PATCH", "/pools/default", form="tls.ca=&tls.chain=")).status == 200
    answer = await api("PATCH", "/pools/default", form="tls.key=/run/us")
    assert (answer.status, answer.pointers) == (422, ["#/tls/key"])


async def test_a_key_that_cannot_be_read_changes_nothing(api: Api, control: Control) -> None:
    def secret(file: str | None) -> bytes:
        raise ConfigError(f"sticky.secret_file: {file} cannot be read: No such file or directory")

    configure(control, other=PoolConfig(sticky=Sticky(secret_file="/run/key")))
    control.registry._secret = secret
    answer = await api("PATCH", "/pools/default", form="sticky.secret_file=/run/key&queue=5")
    assert (answer.status, answer.pointers) == (422, ["#/sticky"])
    assert settings(control) == PoolSettings()


# -- described for machines ----------------------------------------------------------------------------


async def test_nested_settings_are_described(api: Api) -> None:
    schemas = (await api("GET", "/openapi.json")).json["components"]["schemas"]
    patch: Mapping[str, Any] = schemas["PoolSettingsPatch"]
    assert {"$ref": "#/components/schemas/ProbePatch"} in patch["properties"]["probe"]["anyOf"]
    interval = schemas["ProbePatch"]["properties"]["interval"]["anyOf"]
    assert {each["type"] for each in interval} == {"number", "string", "null"}
    assert patch["required"] == []
    assert "null is the default again" in patch["description"]
    assert schemas["PoolView"]["properties"]["settings"] == {"$ref": "#/components/schemas/PoolSettings"}
    assert "the last results differ" in schemas["Probe"]["properties"]["changing_interval"]["description"]
    assert "\n  " not in schemas["Probe"]["description"]
