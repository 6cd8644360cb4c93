"""/route: which way a request for a URL would take, by the routes, rules and backends of this moment."""

import re
from urllib.parse import quote

from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.mistakes import Mistake
from admin.protocol.operation import Operation, Parameter
from admin.protocol.problems import invalid
from admin.views.route_json import RouteAnswer, route_answer
from lb.control import Control
from lb.core.routed import Asked

URL = re.compile(r"(?:(https?)://)?([^/?#\s]*)((?:[/?][^#]*)?)(?:#.*)?", re.IGNORECASE | re.DOTALL)
OTHER_SCHEME = re.compile(r"(?!https?://)[A-Za-z][\w+.-]*://", re.IGNORECASE)
AS_IT_IS = "!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""What is sent as it was typed; the rest is encoded, as clients do."""
METHOD_PATTERN = "^[A-Za-z]{1,32}$"


def asked_for(url: str, method: str, default_host: str) -> Asked:
    """The request that a client makes of this URL; ValueError where it is none."""
    match = URL.fullmatch(url)
    if match is None or not url or OTHER_SCHEME.match(url) or (match[1] and not match[2]):
        raise ValueError(f"expected a URL such as http://shop.example/cart, or a path, got {url!r}")
    scheme, host, target = match[1], match[2], match[3]
    target = target if target.startswith("/") else f"/{target}"
    return Asked(
        method.encode("ascii"),
        (host or default_host).encode("idna" if not host.isascii() else "ascii"),
        quote(target, safe=AS_IT_IS).encode("ascii"),
        (scheme or "").lower() == "https",
    )


def method(value: object) -> str:
    """A method of HTTP."""
    text = parameters.text(value)
    if not re.fullmatch(METHOD_PATTERN, text):
        raise ValueError(f"expected a method such as GET, got {value!r}")
    return text.upper()


URL_PARAMETER = Parameter(
    "url", "what is asked for: http://shop.example/cart, or a path alone", parameters.text, parameters.WORD
)
METHOD = Parameter("method", "GET unless set", method, {"type": "string", "pattern": METHOD_PATTERN})


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation."""

    async def show(call: Call) -> Response:
        url, with_method = call.get(URL_PARAMETER), call.get(METHOD) or "GET"
        default_host = next((each for each in control.listening if not each.startswith("unix:")), "localhost")
        try:
            asked = asked_for(url or "", with_method, default_host)
        except ValueError as exc:
            raise invalid(Mistake(parameter="url", detail=str(exc))) from exc
        return responses.json(await route_answer(control, url or "", with_method, await control.route(asked)))

    return (
        Operation(
            method="GET",
            path="/route",
            summary="which route, pool and backends a URL would get: ?url=http://shop.example/cart",
            handler=show,
            parameters=(URL_PARAMETER, METHOD),
            answers={200: RouteAnswer},
        ),
    )
