"""/pools/{name}/discover, and what else an operator sees of sources."""

from collections import Counter

import pytest

from lb.config.loader import build
from lb.control import Control
from lb.core.announced import Notice
from lb.core.discovery_view import Accepting, NothingFound, SourceStanding
from lb.core.measures.histogram import Histogram
from lb.settings.backend_spec import BackendSpec
from tests.admin.kit import Api


class Sources(NothingFound):
    """One source that says what the test sets."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.asked = 0
        self.held = {"web1": "too few would be left"}
        self.others: list[str] = []
        control.registry.now = lambda: 1000.0
        self.missing = {"web1": 988.0}
        self.promised = True

    def standings(self, pool: str | None = None) -> list[SourceStanding]:
        if pool not in (None, "default"):
            return []
        now = self.control.registry.now()
        return [
            SourceStanding(
                pool="default",
                name="dns",
                kind="dns",
                where="http://web.example:80",
                good_at=now - 3,
                well_since=None,
                next_at=now + 2,
                error="nobody answers",
                here=2,
                missing=self.missing,
                held=self.held,
                shadowed={"web9": "config"},
                waiting={"web8": now + 10},
                hidden=("web7",),
                skipped=("entry 3: url: no",),
                results=Counter(success=4, failure=2),
                changes=Counter(entered=2),
                applications=Histogram((0.1,)),
            )
        ]

    def missing_since(self, pool: str, source: str, backend_id: str) -> float | None:
        return self.missing.get(backend_id)

    def is_promised(self, pool: str) -> bool:
        return self.promised

    def refresh(self, pool: str) -> int:
        self.asked += 1
        return len(self.standings(pool))

    def accept(self, pool: str) -> Accepting:
        accepted, self.held = [*self.held], {}
        others, self.others = self.others, []
        return Accepting(accepted, others)


@pytest.fixture
def sources(control: Control) -> Sources:
    control.discovery = made = Sources(control)
    said = BackendSpec(id="web1", url="http://10.0.0.1:80")
    control.registry.found.enter(said, control.registry.pools["default"], "dns", Notice.HERE)
    return made


async def test_a_source_tells_what_it_said_and_what_follows(api: Api, sources: Sources) -> None:
    answer = (await api("GET", "/pools/default/discover")).json
    [item] = answer["items"]
    assert (item["name"], item["kind"], item["well"]) == ("dns", "dns", False)
    assert item["error"] == "nobody answers"
    assert (item["age_seconds"], item["next_seconds"]) == (3.0, 2.0)
    assert item["held"] == [{"backend": "web1", "why": "too few would be left"}]
    assert item["missing"][0]["seconds"] == 12.0
    assert item["shadowed"] == [{"backend": "web9", "by": "config"}]
    assert (item["hidden"], item["waiting"], item["skipped"]) == (["web7"], ["web8"], ["entry 3: url: no"])


async def test_an_unknown_pool_and_one_without_sources(api: Api, sources: Sources, control: Control) -> None:
    control.registry.add_pool("plain")
    assert (await api("GET", "/pools/none/discover")).status == 404
    assert (await api("GET", "/pools/plain/discover")).json == {"pool": "plain", "items": []}
    assert (await api("POST", "/pools/plain/discover/refresh")).status == 409


async def test_refresh_asks(api: Api, sources: Sources) -> None:
    assert (await api("POST", "/pools/default/discover/refresh")).status == 202
    assert sources.asked == 1


async def test_accept_is_an_act_and_has_an_end(api: Api, sources: Sources, control: Control) -> None:
    assert (await api("POST", "/pools/default/discover/accept")).json["accepted"] == ["web1"]
    assert (await api("POST", "/pools/default/discover/accept")).status == 409
    acts = (await api("GET", "/audit")).json["items"]
    assert any("pools.default.held" in act["changes"] for act in acts)


async def test_a_source_that_is_another_one_may_be_accepted_too(
    api: Api, sources: Sources, control: Control
) -> None:
    sources.held, sources.others = {}, ["etcd"]
    answer = (await api("POST", "/pools/default/discover/accept")).json
    assert answer == {"pool": "default", "accepted": [], "sources": ["etcd"]}
    acts = (await api("GET", "/audit")).json["items"]
    assert any("pools.default.discover.etcd" in act["changes"] for act in acts)


async def test_a_backend_tells_its_source(api: Api, sources: Sources, control: Control) -> None:
    control.registry.found.notice(control.registry.backend("web1"), Notice.MISSING)
    seen = (await api("GET", "/backends/web1")).json
    assert (seen["source"], seen["notice"]) == ("dns", "missing")
    assert seen["missing_seconds"] == 12.0
    table = (await api("GET", "/backends?format=table")).body.decode()
    assert "dns     missing 12 s" in table


async def test_the_numbers_tell_of_sources(api: Api, sources: Sources) -> None:
    metrics = (await api("GET", "/metrics")).body.decode()
    assert 'lb_discovery_up{pool="default",source="dns",kind="dns"} 0.0' in metrics
    assert 'lb_discovery_refreshes_total{pool="default",source="dns",result="failure"} 2.0' in metrics
    assert 'lb_discovery_held{pool="default",source="dns"} 1.0' in metrics
    assert 'lb_discovery_backends{pool="default",source="dns",state="missing"} 1.0' in metrics
    pool = (await api("GET", "/stats")).json["pools"][0]
    assert (pool["held"], pool["failing"]) == (1, ["dns"])


async def test_the_page_shows_what_is_held(api: Api, sources: Sources) -> None:
    page = (await api("GET", "/", headers={"Accept": "text/html"})).body.decode()
    assert "1 held: their source does not name them" in page
    assert "no word from dns" in page
    assert "dns · missing 12 s" in page


async def test_a_promised_pool_without_backends_is_not_ready(
    api: Api, sources: Sources, control: Control
) -> None:
    control.registry.remove(control.registry.backend("web1"))
    control.registry.add_pool("other")
    control.registry.add(BackendSpec(url="http://10.0.0.2:80"), "other")
    tables = {"default": {"discover": [{"files": "x"}]}, "other": {}}
    control.config = build({"pools": tables, "routes": [{"pool": "other"}]})
    answer = await api("GET", "/readyz")
    assert answer.json["reasons"] == ["pool default has no backend: its sources have named none yet"]
    sources.promised = False
    assert (await api("GET", "/readyz")).status == 200
