"""The operations of the API, from the table that is served."""

from collections.abc import Iterator, Sequence
from inspect import cleandoc

import msgspec

from admin.protocol.operation import Operation
from admin.protocol.problems import KINDS
from admin.reference.topic import Entry, Topic, entry, table

PREFACE = """\
`curl 127.0.0.1:9000` prints all of it as a cheat sheet; GET /openapi.json describes it for machines. Bodies
are JSON or forms. Errors are application/problem+json and name the field; each `type` is a path that
explains it. With ?dry_run=true the answer is what the result would be, with Lb-Dry-Run: true, and nothing
changes. With ?keep_available=N the answer is 409 where fewer than N backends of the pool would stay
available; if two such calls race, one succeeds and the other gets 409. ETags with If-Match guard changes.
With several workers the answers are those of all; one that does not answer within half a second is named in
`missing_workers`. POST /config/validate without a body imports what the file names only for a token of
scope admin.
"""


def api_topic(operations: Sequence[Operation]) -> Topic:
    """Every operation, and then every kind of problem."""
    return Topic((*map(_operation, operations), *_problems()), PREFACE)


def _operation(operation: Operation) -> Entry:
    name = f"{operation.method} {operation.path}"
    needs = "open" if operation.is_open else operation.scope.value
    parameters = table((f"  {each.name}", each.description) for each in operation.parameters)
    made = entry(name, f"{name}  ({needs})", operation.summary, _body(operation))
    return made._replace(text="\n".join(filter(None, (made.text.rstrip("\n"), parameters))) + "\n")


def _body(operation: Operation) -> str:
    struct = operation.body_type
    if isinstance(struct, type) and issubclass(struct, msgspec.Struct):
        return f"Body: {', '.join(struct.__struct_fields__)}. {cleandoc(struct.__doc__ or '')}"
    return "The parameters may stand in the body." if operation.posted_parameters else ""


def _problems() -> Iterator[Entry]:
    for slug, kind in KINDS.items():
        yield entry(slug, f"/problems/{slug}  {kind.status}", f"{kind.title}. {kind.about}")
