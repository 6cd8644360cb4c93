"""/docs: the reference of this release, as `lb docs` has it. It holds no number of this balancer.

A browser gets the same text within HTML, so that the topics are links.
"""

from collections.abc import Callable, Sequence
from html import escape

import trio
from quart import Response

from admin.page.home import HTML, POLICY, wants_html
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem
from admin.reference.reference_book import TOPICS, ReferenceBook

MEDIA_TYPES = (responses.TEXT, HTML)
PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<nav><a href="/">trio-lb</a> <a href="/docs">docs</a> {links}</nav>
<main><h1>{title}</h1><pre>{text}</pre></main>
</html>
"""


def operations(everything: Callable[[], Sequence[Operation]]) -> tuple[Operation, ...]:
    """Both operations. `everything` returns all that are served; a topic is made in a thread."""
    book, one_at_a_time = ReferenceBook(everything), trio.CapacityLimiter(1)

    def answer(call: Call, title: str, text: str) -> Response:
        if not wants_html(call.request):
            return responses.text(text, headers={"Vary": "Accept"})
        links = " ".join(f'<a href="/docs/{name}">{name}</a>' for name in TOPICS)
        page = PAGE.format(title=escape(title), links=links, text=escape(text))
        headers = {"Vary": "Accept", "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
        return Response(page, headers=headers, content_type=HTML)

    async def contents(call: Call) -> Response:
        return answer(call, "Reference", book.contents())

    async def docs(call: Call, topic: str) -> Response:
        try:
            text = await trio.to_thread.run_sync(book.look_up, topic, limiter=one_at_a_time)
        except LookupError as exc:
            raise Problem("not-found", str(exc)) from None
        return answer(call, topic, text)

    return (
        Operation(
            method="GET",
            path="/docs",
            summary="the reference: its topics",
            handler=contents,
            answers={200: "Plain text, or HTML where Accept asks for it."},
            media_types=MEDIA_TYPES,
            is_open=True,
        ),
        Operation(
            method="GET",
            path="/docs/{topic}",
            summary="one topic of it, or whatever has this name: a key, a metric, an alert, an error",
            handler=docs,
            answers={200: "Plain text, or HTML where Accept asks for it."},
            media_types=MEDIA_TYPES,
            problems=(404,),
            is_open=True,
        ),
    )
