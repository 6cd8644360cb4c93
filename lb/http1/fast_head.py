"""The fast way to a verdict: heads that clients and proxies really send, cut into lines and looked at once.

A head is plain when its bytes are those that a head may have, each line begins with a name, and every control
field (`lb.http1.fields`) is absent or has its one usual value: nothing is left to judge then. Of a request,
what it says of the client (`claims`) and Via are collected on the way. Where it says more (options of
Connection, an upgrade, a whole URL), the judge's own rules are applied to what was found (`takes_others`),
and only h11 is left out, which would find nothing in it. All other heads go to the judge
(`lb.http1.request_head`, `lb.http1.response_head`), which is the oracle: for any bytes the recogniser
declines, or gives the verdict that the judge would give. It may only ever be stricter.
`tests/http1/test_fast_head.py` and `tests/http1/test_real_heads.py` hold it to that.

Values differ from head to head, but names hardly do. So what a name means is worked out when it is met first,
and looked up from then on (`Names`).
"""

import re
from collections.abc import Callable
from functools import lru_cache

from lb.errors import BadRequest
from lb.http1.authority import is_host
from lb.http1.body import CHUNKED
from lb.http1.fields import (
    IDENTITY,
    NAME,
    NEVER_CONNECTION_OPTIONS,
    NOT_ALPHANUMERIC,
    REQUEST_CONTROL,
    RESPONSE_CONTROL,
    X_FORWARDED,
    announced_trailers,
    connection_options,
    is_claim,
    is_disguised,
    is_identity,
)
from lb.http1.head_syntax import Judged
from lb.http1.keep_alive import KeepAlive, keep_alive_in
from lb.http1.request_head import (
    RequestHead,
    judge_body,
    judge_connection,
    judge_expectations,
    judge_host,
    judge_request,
)
from lb.http1.response_head import ResponseHead, judge_response

USUAL_LINE = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) ([/*Hh][!-\"$-~]*) HTTP/1\.([01])\r")
PLAIN_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([\t -~\x80-\xff]*)\r")
LEGAL = bytes((ord("\t"), *range(ord(" "), 0x7F), *range(0x80, 0x100)))
"""What a line may be made of."""
CLOSE = b"close"
"""As a field it means nothing, but `Connection: close` would name it as one to cut."""
ONE_OPTION = frozenset((b"keep-alive", b"close"))
WITHOUT_A_BODY = frozenset((b"204", b"304"))
MEMO_BYTES = 512
MEMO_HEADS = 512
MEMO_NAMES = 1024
LONGEST_MEMO_NAME = 64
USUAL_CLAIMS = IDENTITY | {X_FORWARDED + what for what in (b"for", b"proto", b"host", b"port", b"server")}
FOR_THE_JUDGE = frozenset((b"host", b"content-length", b"max-forwards", CLOSE))
"""A second Host, a length that is none, and two fields that are too rare for the fast way."""
CUT_ALREADY = (REQUEST_CONTROL - {b"via"}) | IDENTITY | NEVER_CONNECTION_OPTIONS | {CLOSE, b""}
"""Options of Connection that name no line, one that has fallen out, or one that is not cut."""
NO_OPTIONS: frozenset[bytes] = frozenset()
BEHIND_FIELDS = 2
"""A head that is cut at its line ends has so many empty pieces behind its fields."""
SLASH = ord("/")
LONGEST_LENGTH = 18  # digits, all of which are below 2^63


class Names(dict[bytes, bytes | None]):
    """Names of fields as they are spelled, and what the recogniser has to know of each.

    That is the name in lower case where `is_control` says so of it, b"" for any other, and None for what is
    no name, as of a line without a colon, which ends in a CR. Who invents names makes it forget those that it
    has learned, and it learns them again.
    """

    def __init__(self, is_control: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._is_control = is_control

    def __missing__(self, name: bytes) -> bytes | None:
        known = None
        if NAME.fullmatch(name):
            lower = name.lower()
            known = lower if self._is_control(lower) else b""
        if len(name) <= LONGEST_MEMO_NAME:
            if len(self) >= MEMO_NAMES:
                self.clear()
            self[name] = known
        return known


def is_control_of_request(name: bytes) -> bool:
    """Does the verdict on a request depend on a field of this name, in lower case, or end such a field?"""
    return name in REQUEST_CONTROL or is_identity(name) or is_disguised(name) or name == CLOSE


def is_control_of_response(name: bytes) -> bool:
    """The same of a response. A name that is one in disguise (`fields.is_disguised`) is for the judge."""
    return NOT_ALPHANUMERIC.sub(b"-", name) in RESPONSE_CONTROL or name == CLOSE


REQUEST_NAMES = Names(is_control_of_request)
RESPONSE_NAMES = Names(is_control_of_response)


def read_request(
    data: bytes, default_host: bytes, target_limit: int, field_limit: int, takes_https: bool = False
) -> RequestHead:
    """The verdict on one whole request head; as `judge_request`, and quicker for a usual head."""
    head = recognise_request(data, default_host, target_limit, field_limit)
    if head is None:
        return judge_request(data, default_host, target_limit, field_limit, takes_https)
    return head


def read_response(data: bytes, method: bytes, field_limit: int) -> ResponseHead:
    """The verdict on one whole response head; as `judge_response`, and quicker where the head is plain."""
    head = recognise_response(data, method, field_limit)
    return judge_response(data, method, field_limit) if head is None else head


def recognise_request(
    data: bytes, default_host: bytes, target_limit: int, field_limit: int
) -> RequestHead | None:
    """As `plain_request`; verdicts on short heads are remembered."""
    recognise = recent_request if len(data) <= MEMO_BYTES else plain_request
    return recognise(data, default_host, target_limit, field_limit)


def recognise_response(data: bytes, method: bytes, field_limit: int) -> ResponseHead | None:
    """As `plain_response`; verdicts on short heads are remembered."""
    recognise = recent_response if len(data) <= MEMO_BYTES else plain_response
    return recognise(data, method, field_limit)


def lines_of(data: bytes, field_limit: int) -> list[bytes] | None:
    """The first line, the field lines and BEHIND_FIELDS more, with a CR behind each; None for the judge.

    What is left of the bytes without all that may be in a line are CRs and LFs in turn, and each CR stands
    right before its LF.
    """
    lines = data.split(b"\n")
    ends = len(lines) - 1
    if ends - BEHIND_FIELDS > field_limit or not data.endswith(b"\r\n\r\n"):
        return None
    if data.count(b"\r\n") != ends or data.translate(None, LEGAL) != b"\r\n" * ends:
        return None
    return lines


def plain_request(
    data: bytes, default_host: bytes, target_limit: int, field_limit: int
) -> RequestHead | None:
    """The verdict on a usual head, as `judge_request` gives it; None where the head is for the judge.

    `kept` has the lines that travel on: those that end here fall out.
    """
    lines = lines_of(data, field_limit)
    match = None if lines is None else USUAL_LINE.fullmatch(lines[0])
    if lines is None or match is None:
        return None
    method, target, minor = match.groups()
    if len(target) > target_limit:
        return None
    host: bytes | None = None
    length: int | None = None
    via: bytes | None = None
    is_1_0 = minor == b"0"
    stays = not is_1_0
    claims: dict[bytes, bytes] = {}
    others: Judged = {}
    kept: list[bytes] = []
    for line in lines[1:-BEHIND_FIELDS]:
        name, _, value = line.partition(b":")
        known = REQUEST_NAMES[name]
        if known is None:
            return None
        if not known:
            kept.append(line)
            continue
        value = value.strip()
        match known:
            case b"host" if host is None:
                host = value
                kept.append(line)
            case b"connection" if (option := value.lower()) in ONE_OPTION:
                stays = stays and option == b"keep-alive"
            case b"content-length" if length is None and value.isdigit() and len(value) <= LONGEST_LENGTH:
                length = int(value)
            case claim if claim in USUAL_CLAIMS or is_claim(claim):
                claims[claim] = b"%b, %b" % (claims[claim], value) if claim in claims else value
            case b"via":
                via = value if via is None else b"%b, %b" % (via, value)
                kept.append(line)
            case other:
                others.setdefault(other, []).append(value)
    head = RequestHead(method, target, is_1_0)
    head.length, head.keep_alive = length, stays
    if claims:
        head.claims = claims
    if via is not None:
        head.via = via
    if others or host is None or target[0] != SLASH:
        return head if takes_others(head, host, others, kept, default_host) else None
    if not is_host(host):
        return None
    head.host, head.lines = host, joined(kept)
    return head


def joined(lines: list[bytes]) -> bytes:
    return b"\n".join([*lines, b""])


def takes_others(
    head: RequestHead, host: bytes | None, others: Judged, kept: list[bytes], default_host: bytes
) -> bool:
    """Fill in what follows from the target and from other fields, by the judge's rules.

    False where the head is for the judge. `kept` are the lines that travel on.
    """
    if not FOR_THE_JUDGE.isdisjoint(others):
        return False
    options = connection_options(others[b"connection"]) if b"connection" in others else NO_OPTIONS
    stays = head.keep_alive
    try:
        if judge_host(head, [] if host is None else [host], default_host):
            kept = [b"Host: %b\r" % head.host, *without(frozenset((b"host",)), kept)]
        if b"transfer-encoding" in others:
            if head.length is not None:
                return False
            judge_body(head, others)
        judge_connection(head, others, options)
        judge_expectations(head, others)
    except BadRequest:
        return False
    head.keep_alive = head.keep_alive and stays
    head.lines = joined(kept if options <= CUT_ALREADY else without(options - CUT_ALREADY, kept))
    if head.length == CHUNKED and b"trailer" in others:
        head.lines += announced_trailers(others[b"trailer"])
    return True


def without(names: frozenset[bytes], lines: list[bytes]) -> list[bytes]:
    """The lines but those with these names, which are in lower case."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def plain_response(data: bytes, method: bytes, field_limit: int) -> ResponseHead | None:
    """The verdict on a plain head of a final response; None where the head is for the judge."""
    lines = lines_of(data, field_limit)
    match = None if lines is None else PLAIN_STATUS.fullmatch(lines[0])
    if lines is None or match is None:
        return None
    status, reason = match.groups()
    has_body = method != b"HEAD" and status not in WITHOUT_A_BODY
    length: int | None = None
    has_date, stays = False, True
    offer: KeepAlive | None = None
    kept: list[bytes] = []
    for line in lines[1:-BEHIND_FIELDS]:
        name, _, value = line.partition(b":")
        known = RESPONSE_NAMES[name]
        if known is None:
            return None
        if not known:
            kept.append(line)
            continue
        value = value.strip()
        match known:
            case b"date":
                has_date = True
                kept.append(line)
            case b"content-length" if length is None and value.isdigit() and len(value) <= LONGEST_LENGTH:
                length = int(value)
            case b"transfer-encoding" if length is None and value.lower() == b"chunked":
                length = CHUNKED
            case b"connection" if (option := value.lower()) in ONE_OPTION:
                stays = stays and option == b"keep-alive"
            case b"keep-alive" if offer is None and (offer := keep_alive_in((value,))) is not None:
                pass
            case _:
                return None
    if (has_body and length is None) or (status == b"204" and length is not None):
        return None
    head = ResponseHead(int(status), reason)
    head.has_date, head.length, head.keep_alive = has_date, length if has_body and length else 0, stays
    head.announced = None if length == CHUNKED else length
    head.lines, head.offer = joined(kept), offer
    return head


recent_request = lru_cache(MEMO_HEADS)(plain_request)
recent_response = lru_cache(MEMO_HEADS)(plain_response)
"""Clients and backends send the same heads again and again. A head is never changed once it is made, so one
verdict can serve many exchanges. Only short heads are remembered, so that the memory used is small too."""
