"""Conditional requests (RFC 9110 section 13), all of them optional: revisions are entity tags."""

from quart import Request

from admin.protocol.problems import Problem

Revision = int | str


def etag(revision: Revision) -> str:
    """The strong tag of a revision, which only an operator's change moves; counters do not."""
    return f'"{revision}"'


def check(request: Request, revision: Revision | None) -> None:
    """412 unless If-Match and If-None-Match allow the change; `revision` is None for what is not there."""
    wanted, unwanted = _tags(request, "If-Match"), _tags(request, "If-None-Match")
    if wanted and not _matches(wanted, revision):
        raise Problem("precondition-failed", _now(revision))
    if _matches(_weakly(unwanted), revision):
        raise Problem("precondition-failed", _now(revision))


def is_known(request: Request, revision: Revision) -> bool:
    """Whether the client has this revision already, so that 304 is the answer."""
    return _matches(_weakly(_tags(request, "If-None-Match")), revision)


def _tags(request: Request, name: str) -> set[str]:
    return {tag.strip() for tag in request.headers.get(name, "").split(",")} - {""}


def _weakly(tags: set[str]) -> set[str]:
    """The tags as If-None-Match compares them: weak ones match too (RFC 9110 section 13.1.2)."""
    return {tag.removeprefix("W/") for tag in tags}


def _matches(tags: set[str], revision: Revision | None) -> bool:
    return revision is not None and ("*" in tags or etag(revision) in tags)


def _now(revision: Revision | None) -> str:
    return "it does not exist" if revision is None else f"it is at revision {revision}"
