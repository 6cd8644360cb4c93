"""The fast way to a verdict: heads that clients and proxies really send, matched whole by one strict pattern.

A head is plain when its bytes match the pattern and every control field (`lb.http1.fields`) is absent or has
its one usual value: nothing is left to judge then. Of a request, what it says of the client (`claims`) and
Via are collected on the way. Where it says more (options of Connection, an upgrade, a whole URL), the judge's
own rules are applied to what was matched (`takes_others`), and only h11 is left out, which would find nothing
in it. All other heads go to the judge (`lb.http1.request_head`, `lb.http1.response_head`), which is the
oracle: for any bytes the recogniser declines, or gives the verdict that the judge would give. It may only
ever be stricter. `tests/http1/test_fast_head.py` and `tests/http1/test_real_heads.py` hold it to that.
"""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from lb.errors import BadRequest
from lb.http1.authority import is_host
from lb.http1.body import CHUNKED
from lb.http1.fields import (
    FIELD_LINE,
    IDENTITY,
    NEVER_CONNECTION_OPTIONS,
    REQUEST_CONTROL,
    RESPONSE_CONTROL,
    TOKEN,
    X_FORWARDED,
    announced_trailers,
    connection_options,
    is_claim,
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


def control_lines(
    names: Iterable[bytes], prefixes: Iterable[bytes] = (), is_whole: bool = False
) -> re.Pattern[bytes]:
    """Finds (name, value) of each field line with one of these names, or with a name that so begins.

    They are given in lower case, and also found in disguise (`fields.is_disguised`).
    """
    words = {tuple(map(_in_disguise, name)) for name in names}
    words |= {(*map(_in_disguise, prefix), b"(?:" + TOKEN + b")?") for prefix in prefixes}
    line = rb"\n(" + _any_of(words) + rb"):[ \t]*+([^\r\n]*+)"
    return re.compile(rb"(" + line + rb"\r)" if is_whole else line)


def _either_case(byte: int) -> bytes:
    """A set of two letters instead of re.IGNORECASE: a branch that begins with a set is skipped at once."""
    letter = bytes((byte,))
    return b"[%b%b]" % (letter, letter.upper()) if letter.isalpha() else re.escape(letter)


def _in_disguise(byte: int) -> bytes:
    return MARK if byte == ord("-") else _either_case(byte)


def _any_of(words: Collection[tuple[bytes, ...]]) -> bytes:
    """A pattern for any of these words, which are sequences of patterns; a common beginning stands once."""
    rests: dict[bytes, set[tuple[bytes, ...]]] = {}
    for first, *rest in filter(None, words):
        rests.setdefault(first, set()).add(tuple(rest))
    branches = [first + _any_of(rest) for first, rest in sorted(rests.items())]
    if () in words:
        branches.append(b"")
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


MARK = rb"[!#$%&'*+.^_`|~-]"
"""Whatever a name may have beside letters and digits: some backends read all of them as `-`."""
FIELDS = rb"((?:" + FIELD_LINE + rb")*+)\r\n"
FIELDS_BEHIND_LINE_END = rb"(\n(?:" + FIELD_LINE + rb")*+)\r\n"
USUAL_REQUEST = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) ([/*Hh][!-\"$-~]*) HTTP/1\.([01])\r" + FIELDS_BEHIND_LINE_END
)
PLAIN_RESPONSE = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([\t -~\x80-\xff]*)\r\n" + FIELDS)
CLOSE = b"close"
"""As a field it means nothing, but `Connection: close` would name it as one to cut."""
CONTROL_OF_REQUEST = control_lines(REQUEST_CONTROL | IDENTITY | {CLOSE}, (X_FORWARDED,), is_whole=True)
CONTROL_OF_RESPONSE = control_lines(RESPONSE_CONTROL | {CLOSE})
CUT = re.compile(rb"\n(?:connection|content-length|transfer-encoding):[^\n]*+(?=\n)", re.IGNORECASE)
"""The lines of the control fields that a plain head may have and that end here."""
CUT_HOST = re.compile(rb"\nhost:[^\n]*+(?=\n)", re.IGNORECASE)
CUT_KEEP_ALIVE = re.compile(rb"\nkeep-alive:[^\n]*+(?=\n)", re.IGNORECASE)
ONE_OPTION = frozenset((b"keep-alive", b"close"))
WITHOUT_A_BODY = frozenset((b"204", b"304"))
MEMO_BYTES = 512
MEMO_HEADS = 512
USUAL_CLAIMS = IDENTITY | {X_FORWARDED + what for what in (b"for", b"proto", b"host", b"port", b"server")}
FOR_THE_JUDGE = frozenset((b"host", b"content-length", b"max-forwards", CLOSE))
"""A second Host, a length that is none, and two fields that are too rare for the fast way."""
CUT_ALREADY = (REQUEST_CONTROL - {b"via"}) | IDENTITY | NEVER_CONNECTION_OPTIONS | {CLOSE, b""}
"""Options of Connection that name no line, one that has fallen out, or one that is not cut."""
NO_OPTIONS: frozenset[bytes] = frozenset()
PIECES = 4
"""What `CONTROL_OF_REQUEST.split` returns for each line that it finds."""
SLASH = ord("/")
LONGEST_LENGTH = 18  # digits, all of which are below 2^63


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


def plain_request(
    data: bytes, default_host: bytes, target_limit: int, field_limit: int
) -> RequestHead | None:
    """The verdict on a usual head, as `judge_request` gives it; None where the head is for the judge.

    The lines are split at the control fields, so that those which end here fall out.
    """
    match = USUAL_REQUEST.fullmatch(data) if data.count(b"\n") - 2 <= field_limit else None
    if match is None:
        return None
    method, target, minor, lines = match.groups()
    if len(target) > target_limit:
        return None
    host: bytes | None = None
    length: int | None = None
    via: bytes | None = None
    is_1_0 = minor == b"0"
    has_cuts, stays = False, not is_1_0
    claims: dict[bytes, bytes] = {}
    others: Judged = {}
    pieces = CONTROL_OF_REQUEST.split(lines)
    for at in range(1, len(pieces), PIECES):  # text, then a whole line, its name, its value, and text again
        value = pieces[at + 2]
        match pieces[at + 1].lower():
            case b"host" if host is None:
                host = value.rstrip()
                continue
            case b"connection" if (option := value.lower()) in ONE_OPTION:
                stays = stays and option == b"keep-alive"
            case b"content-length" if length is None and value.isdigit() and len(value) <= LONGEST_LENGTH:
                length = int(value)
            case claim if claim in USUAL_CLAIMS or is_claim(claim):
                said = value.rstrip()
                claims[claim] = b"%b, %b" % (claims[claim], said) if claim in claims else said
            case b"via":
                via = value.rstrip() if via is None else b"%b, %b" % (via, value.rstrip())
                continue
            case other:
                others.setdefault(other, []).append(value.rstrip())
        pieces[at], has_cuts = b"", True
    if has_cuts:
        del pieces[2::PIECES], pieces[2 :: PIECES - 1]  # the names and the values
        lines = b"".join(pieces)
    head = RequestHead(method, target, is_1_0)
    head.length, head.keep_alive = length, stays
    if claims:
        head.claims = claims
    if via is not None:
        head.via = via
    if others or host is None or target[0] != SLASH:
        return head if takes_others(head, host, others, lines, default_host) else None
    if not is_host(host):
        return None
    head.host, head.lines = host, lines[1:]
    return head


def takes_others(
    head: RequestHead, host: bytes | None, others: Judged, lines: bytes, default_host: bytes
) -> bool:
    """Fill in what follows from the target and from other fields, by the judge's rules.

    False where the head is for the judge. `lines` have their line ends before them.
    """
    if not FOR_THE_JUDGE.isdisjoint(others):
        return False
    options = connection_options(others[b"connection"]) if b"connection" in others else NO_OPTIONS
    stays = head.keep_alive
    try:
        if judge_host(head, [] if host is None else [host], default_host):
            lines = b"\nHost: %b\r%b" % (head.host, CUT_HOST.sub(b"", lines))
        if b"transfer-encoding" in others:
            if head.length is not None:
                return False
            judge_body(head, others)
        judge_connection(head, others, options)
        judge_expectations(head, others)
    except BadRequest:
        return False
    head.keep_alive = head.keep_alive and stays
    head.lines = lines[1:] if options <= CUT_ALREADY else without(options - CUT_ALREADY, lines[1:])
    if head.length == CHUNKED and b"trailer" in others:
        head.lines += announced_trailers(others[b"trailer"])
    return True


def without(names: frozenset[bytes], lines: bytes) -> bytes:
    """The lines but those with these names, which are in lower case."""
    each = lines.splitlines(keepends=True)
    return b"".join([line for line in each if line.partition(b":")[0].lower() not in names])


def plain_response(data: bytes, method: bytes, field_limit: int) -> ResponseHead | None:
    """The verdict on a plain head of a final response; None where the head is for the judge."""
    match = PLAIN_RESPONSE.fullmatch(data) if data.count(b"\n") - 2 <= field_limit else None
    if match is None:
        return None
    status, reason, lines = match.groups()
    begin, end = match.start(3) - 1, match.end(3)
    has_body = method != b"HEAD" and status not in WITHOUT_A_BODY
    length: int | None = None
    has_date, has_cuts, stays = False, False, True
    offer: KeepAlive | None = None
    for name, value in CONTROL_OF_RESPONSE.findall(data, begin, end):
        match name.lower():
            case b"date":
                has_date = True
            case b"content-length" if length is None and value.isdigit() and len(value) <= LONGEST_LENGTH:
                length, has_cuts = int(value), True
            case b"transfer-encoding" if length is None and value.lower() == b"chunked":
                length, has_cuts = CHUNKED, True
            case b"connection" if (option := value.lower()) in ONE_OPTION:
                has_cuts, stays = True, stays and option == b"keep-alive"
            case b"keep-alive" if offer is None and (offer := keep_alive_in((value,))) is not None:
                pass
            case _:
                return None
    if (has_body and length is None) or (status == b"204" and length is not None):
        return None
    head = ResponseHead(int(status), reason)
    head.has_date, head.length, head.keep_alive = has_date, length if has_body and length else 0, stays
    head.announced = None if length == CHUNKED else length
    head.lines = CUT.sub(b"", data[begin:end])[1:] if has_cuts else lines
    if offer is not None:
        head.offer = offer
        head.lines = CUT_KEEP_ALIVE.sub(b"", b"\n" + head.lines)[1:]
    return head


recent_request = lru_cache(MEMO_HEADS)(plain_request)
recent_response = lru_cache(MEMO_HEADS)(plain_response)
"""Clients and backends send the same heads again and again. A head is never changed once it is made, so one
verdict can serve many exchanges. Only short heads are remembered, so that the memory used is small too."""
