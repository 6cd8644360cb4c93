"""The rules and the dashboard: both speak of metrics that exist, and each alert fires when it should."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from admin.reference.alert_reference import runbooks
from admin.resources.alerting import content
from lb.control import Control
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import Api, FakeWorkers, MakeApi
from tests.kit.terminations import lasting, terminating

HERE = Path(__file__).parent
RULES = HERE.parents[2] / "admin" / "resources" / "alerting" / "alerts.yml"
MEDIA_TYPES = {"alerts.yml": "text/yaml", "grafana.json": "application/json"}
ALERTS = re.findall(r"(?m)^ +- alert: (\w+)$", content("alerts.yml").decode())
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def promtool(*arguments: str | Path) -> None:
    """It has no complaint."""
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in this JSON, at any depth."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from objects(each)


def names(text: str) -> set[str]:
    """The metrics that are named in expressions, or in what looks like them."""
    return set(re.findall(r"\b(?:lb|process|python)_\w+", text))


@pytest.mark.needs("promtool")
def test_promtool_has_no_complaint_about_the_rules() -> None:
    promtool("check", "rules", RULES)


@pytest.mark.needs("promtool")
def test_each_alert_fires_when_it_should() -> None:
    promtool("test", "rules", HERE / "alerts_test.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_its_case_and_its_paragraph(alert: str) -> None:
    cases = (HERE / "alerts_test.yml").read_text()
    assert re.search(rf"alertname: {alert}\n +eval_time: \d+m\n +exp_alerts:\n", cases)
    assert len(runbooks()[alert]) > len(alert)
    rules = content("alerts.yml").decode()
    assert f'runbook: "lb docs {alert}"' in rules
    # A balancer that is down shows no page.
    assert (f'/docs/{alert}"' in rules) is (alert != "LbDown")


@pytest.mark.parametrize("file", MEDIA_TYPES)
async def test_every_metric_that_is_named_exists(
    api: Api, control: Control, crew: FakeWorkers, tmp_path: Path, file: str
) -> None:
    control.tls = terminating(tmp_path, lasting("www.test"))
    text = (await api("GET", "/metrics")).body.decode()
    there = {f"{family.name}{end}" for family in parse(text) for end in SUFFIXES.get(family.type, ("",))}
    named = names(content(file).decode())
    assert named
    assert named <= there


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    dashboard = json.loads(content("grafana.json"))
    assert (dashboard["id"], dashboard["uid"]) == (None, "trio-lb")
    variables = [each["name"] for each in dashboard["templating"]["list"]]
    assert variables == ["datasource", "job", "instance", "pool", "backend"]
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    sources = [each["datasource"]["uid"] for each in objects(dashboard) if "datasource" in each]
    assert set(sources) == {"${datasource}"}
    used = set(
        re.findall(r"\$(\w+)", " ".join(each["expr"] for each in objects(dashboard) if "expr" in each))
    )
    assert used == {"job", "instance", "pool", "backend", "__rate_interval"}


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(content("grafana.json"))["panels"]:
        at = panel["gridPos"]
        here = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not here & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= here


@pytest.mark.parametrize(("file", "media_type"), [*MEDIA_TYPES.items()])
async def test_both_are_served_as_they_are(api: Api, file: str, media_type: str) -> None:
    answer = await api("GET", f"/{file}")
    assert (answer.status, answer.body) == (200, content(file))
    assert answer.headers["content-type"].startswith(media_type)


@pytest.mark.parametrize("file", MEDIA_TYPES)
@pytest.mark.parametrize(("is_open", "status"), [(False, 401), (True, 200)])
async def test_both_are_open_where_metrics_are(
    make_api: MakeApi, file: str, is_open: bool, status: int
) -> None:
    api = make_api(AdminConfig(metrics_open=is_open), "a-token-of-the-operator")
    assert (await api("GET", f"/{file}")).status == (await api("GET", "/metrics")).status == status
