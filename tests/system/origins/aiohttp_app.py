"""An aiohttp origin that counts: `aiohttp_app.py PORT`."""

import sys
from collections import Counter

from aiohttp import web

SEEN: Counter[str] = Counter()


async def seen(request: web.Request) -> web.Response:
    await request.read()
    if request.path == "/count":
        return web.json_response(SEEN)
    SEEN[request.path] += 1
    return web.Response(text="seen\n")


app = web.Application()
app.router.add_route("*", "/{path:.*}", seen)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
