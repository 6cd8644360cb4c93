"""/alerts.yml and /grafana.json: alerting rules for Prometheus and a dashboard for Grafana.

They name metrics, labels and states, so each version serves the files that fit its own metrics.
"""

from importlib.resources import files

from quart import Response

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation

YAML = "text/yaml; charset=utf-8"


def operations(*, is_open: bool) -> tuple[Operation, ...]:
    """Both files, open where /metrics is."""
    return (
        _file("alerts.yml", YAML, "alerting rules for Prometheus", is_open),
        _file("grafana.json", responses.JSON, "a dashboard to import into Grafana", is_open),
    )


def _file(name: str, media_type: str, summary: str, is_open: bool) -> Operation:
    async def show(call: Call) -> Response:
        return Response(content(name), content_type=media_type)

    return Operation(
        method="GET",
        path=f"/{name}",
        summary=summary,
        handler=show,
        answers={200: "The file."},
        media_types=(media_type,),
        is_open=is_open,
    )


def content(name: str) -> bytes:
    """One of the files of this package."""
    return files(__name__).joinpath(name).read_bytes()
