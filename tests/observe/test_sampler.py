"""The counters, read once a second. The time is an argument, so no clock is needed."""

from lb.core.backend import Backend
from lb.core.measures.rates import STEP, Rates
from lb.core.registry import Registry
from lb.errors import Reason
from lb.observe.counters import Flow, Metrics
from lb.observe.sampler import Sampler, of_backend
from tests.core.scene import Clock, Request, registry, spec


class Scene:
    """A registry with one pool, its counters and a sampler."""

    def __init__(self) -> None:
        self.registry: Registry = registry(Clock())
        self.registry.add_pool("default")
        self.metrics = Metrics()
        self.sampler = Sampler(self.registry, self.metrics)
        self.now = 0.0

    def add(self, name: str, **settings: object) -> Backend:
        return self.registry.add(spec(name, **settings))[0]  # type: ignore[arg-type]

    def answers(self, code: int = 200, count: int = 1, pool: str = "default", listener: str = "a") -> None:
        flow = self.metrics.flows.setdefault((listener, pool), Flow())
        flow.answers["GET", code] += count
        for _ in range(count):
            flow.durations.observe(0.02)

    def seconds_pass(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.sampler.sample(self.now)
            self.now += 1


def test_the_total_is_the_sum_of_pools_listeners_and_methods() -> None:
    scene = Scene()
    scene.registry.add_pool("other")
    scene.seconds_pass()
    scene.answers(200, 6)
    scene.answers(404, 2, listener="b")
    scene.answers(503, 1, pool="other")
    scene.answers(400, 1, pool="")  # a request without a pool
    scene.seconds_pass()
    total = scene.sampler.total.lately()
    assert (total.ended, total.requests_per_second) == (10, 10.0)
    assert (total.share_4xx, total.share_5xx) == (0.3, 0.1)
    assert scene.sampler.of_pool("default").lately().ended == 8
    assert scene.sampler.of_pool("other").lately().share_5xx == 1.0
    assert total.p50_seconds is not None
    assert 0.01 < total.p50_seconds < 0.025


def test_a_backend_has_five_minutes_until_it_is_removed() -> None:
    scene = Scene()
    web = scene.add("web")
    scene.seconds_pass(STEP)
    web.codes[200] += 10
    scene.seconds_pass(STEP + 1)
    assert [*scene.sampler.track_of(web).requests] == [2.0, 0.0]
    scene.registry.remove(web)
    scene.seconds_pass()
    assert [*scene.sampler.track_of(web).requests] == []


def test_a_client_that_left_counts_as_4xx_of_the_pool_and_not_of_the_backend() -> None:
    scene = Scene()
    web = scene.add("web")
    scene.answers(499)
    web.codes[499] += 1
    web.failures[Reason.CLIENT_DISCONNECTED] += 2
    web.failures[Reason.CONNECTION_REFUSED] += 3
    read = of_backend(web, 1.0)
    assert (read.ended, read.codes, read.failed) == (6, (0, 0, 0, 0), 3)
    scene.metrics.failures["default", Reason.CLIENT_DISCONNECTED] = 1
    scene.seconds_pass()
    assert scene.sampler.of_pool("default")._lately[-1].codes == (0, 0, 1, 0)
    assert scene.sampler.of_pool("default")._lately[-1].failed == 0


def test_failures_at_a_backends_fault_are_counted_for_the_pool() -> None:
    scene = Scene()
    scene.seconds_pass()
    scene.answers(502, 2)
    scene.metrics.failures["default", Reason.CONNECTION_REFUSED] = 2
    scene.seconds_pass()
    assert scene.sampler.of_pool("default").lately().share_failed == 1.0
    assert scene.sampler.total.lately().share_failed == 1.0


def test_counts_before_the_first_sample_are_no_burst() -> None:
    scene = Scene()
    web = scene.add("web")
    web.codes[200] = 1_000_000
    scene.answers(200, 100)
    scene.seconds_pass(2)
    assert scene.sampler.of(web).lately() == scene.sampler.total.lately() == Rates()


def test_a_backend_added_again_under_its_id_starts_fresh() -> None:
    scene = Scene()
    first = scene.add("web")
    scene.seconds_pass()
    first.codes[200] += 50
    scene.seconds_pass()
    assert scene.sampler.of(first).lately().ended == 50
    scene.registry.remove(first)
    second = scene.add("web")
    assert scene.sampler.of(second).lately() == Rates()  # no sample was taken of it
    scene.seconds_pass(2)
    assert scene.sampler.of(second).lately() == Rates()
    assert list(scene.sampler.backends) == [second]


def test_history_gets_one_point_a_step() -> None:
    scene = Scene()
    web, full = scene.add("web"), scene.add("full", cap=1)
    full.running.add(Request())
    scene.registry.pools["default"].in_flight = 1
    scene.metrics.listener("a").in_flight = 2
    for _ in range(STEP * 3 + 1):
        scene.answers(200, 10)
        web.codes[200] += 10
        scene.seconds_pass()
    for trend, in_flight in ((scene.sampler.total, 2), (scene.sampler.of_pool("default"), 1)):
        assert [point.requests_per_second for point in trend.points] == [10.0, 10.0, 10.0]
        assert {(point.in_flight, point.available, point.backends) for point in trend.points} == {
            (in_flight, 1, 2)
        }
    assert not scene.sampler.of(web).points
