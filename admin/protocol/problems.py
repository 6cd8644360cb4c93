"""Every error of the API as RFC 9457 problem+json: what is wrong, where, and what would be right.

A handler raises `Problem`. Every other error (no such route, a body too large, a mistake of ours) becomes a
problem too, so no client gets HTML. The `type` of a problem is a path of this API, which explains it.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import msgspec
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from admin.protocol.mistakes import Mistake


class Kind(NamedTuple):
    """One kind of problem: its status, its title, and the paragraph at its `type`."""

    status: int
    title: str
    about: str


KINDS = {
    "malformed": Kind(400, "The body cannot be read", "It is not UTF-8, not JSON, or nested too deeply."),
    "unauthorized": Kind(401, "A token is needed", "Send `Authorization: Bearer TOKEN`."),
    "cross-site": Kind(
        403,
        "Refused for a web page",
        "Requests of pages of other sites are not taken, but a link to / may stand anywhere.",
    ),
    "forbidden": Kind(
        403,
        "Not with this token",
        "`read` looks, `drain` also takes backends and the balancer out and back in and ends requests,"
        " `admin` may do all.",
    ),
    "not-found": Kind(404, "There is no such thing", "`GET /` lists every path; ids are case-sensitive."),
    "method-not-allowed": Kind(405, "Not with this method", "The field `Allow` lists those that are."),
    "timeout": Kind(408, "The body did not come in time", "It is read for a few seconds only."),
    "conflict": Kind(
        409,
        "It contradicts what is there",
        "POST adds. PUT and PATCH change what is there; to move a backend between pools, remove it first.",
    ),
    "precondition-failed": Kind(
        412,
        "It has changed meanwhile",
        "If-Match or If-None-Match does not hold. Read it again, then decide.",
    ),
    "too-large": Kind(413, "The body is too large", "At most 64 KiB are taken."),
    "unsupported-media-type": Kind(
        415,
        "Not in this format",
        "Send application/json, application/merge-patch+json or application/x-www-form-urlencoded.",
    ),
    "misdirected": Kind(
        421,
        "Not by this name",
        "The field Host is neither loopback, nor this address, nor in `admin.allowed_hosts`. That is what"
        " keeps a web page with a name of its own for 127.0.0.1 (DNS rebinding) from steering the balancer.",
    ),
    "validation": Kind(422, "The request is not valid", "`errors` names each mistake and where it stands."),
    "internal": Kind(500, "A mistake of ours", "The log has it under the `request_id`. Traffic goes on."),
    "not-persisted": Kind(
        500,
        "The change holds, but only in memory",
        "The state file could not be written, so a restart would lose the change. Repeat the request when"
        " the disk is well again: the same wish twice does no harm.",
    ),
    "not-everywhere": Kind(
        500,
        "The change holds, but not in all workers",
        "A worker could not apply it, and goes on with what it had; the others have it. `GET /workers` says"
        " for how long.",
    ),
    "cluster-unavailable": Kind(
        503,
        "etcd cannot be asked",
        "Nothing was changed, and nothing will be later. Ask again; or change this balancer alone with"
        " ?local=true, until DELETE .../local.",
    ),
    "cluster-unknown": Kind(
        504,
        "It is not known whether it was changed",
        "etcd was asked, and has not answered. Ask again when it is well: the same wish twice is one.",
    ),
    "too-many-readers": Kind(
        503, "Too many read the events", "Each holds a connection. Close one of them, or ask again later."
    ),
    "http-error": Kind(400, "The request is not valid", "The status says which rule of HTTP it broke."),
}

MAX_MISTAKES = 100

NOT_BY_STATUS = frozenset(
    {
        "cross-site",
        "not-persisted",
        "not-everywhere",
        "cluster-unavailable",
        "cluster-unknown",
        "too-many-readers",
        "http-error",
    }
)
"""Kinds that BY_STATUS leaves out: their status has another kind, or many."""

BY_STATUS = {kind.status: slug for slug, kind in KINDS.items() if slug not in NOT_BY_STATUS}


class Report(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The problem+json body."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: tuple[Mistake, ...] = ()
    request_id: str


class Problem(Exception):
    """An error as an answer, with these `headers`."""

    def __init__(
        self,
        slug: str,
        detail: str | None = None,
        errors: tuple[Mistake, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or KINDS[slug].title)
        self.slug = slug
        self.status = KINDS[slug].status
        self.title = KINDS[slug].title
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def report(self, request_id: str) -> Report:
        """The body of the answer."""
        return Report(
            type=f"/problems/{self.slug}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            errors=self.errors,
            request_id=request_id,
        )


def invalid(*mistakes: Mistake, untold: int = 0) -> Problem:
    """422 with these mistakes, of which the first MAX_MISTAKES are listed; there are `untold` others."""
    if (more := max(0, len(mistakes) - MAX_MISTAKES) + untold) > 0:
        rest = Mistake(pointer="#", detail=f"there are {more} more mistakes")
        mistakes = (*mistakes[:MAX_MISTAKES], rest)
    return Problem("validation", errors=mistakes)


def of_http(error: HTTPException) -> Problem:
    """The problem for an error of werkzeug or Quart, with the fields that its status requires."""
    status = error.code or 500
    problem = Problem(BY_STATUS.get(status, "http-error"))
    if problem.slug == "http-error":
        problem.status, problem.title = status, HTTPStatus(status).phrase
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        problem.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return problem


def page(slug: str) -> str | None:
    """The text at a problem's `type`, or None where there is no such kind."""
    kind = KINDS.get(slug)
    return kind and f"{kind.status} {kind.title}\n\n{kind.about}\n"
