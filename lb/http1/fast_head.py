"""The fast way to a verdict: heads that are plain in every respect, matched whole by one strict pattern.

Most heads have nothing in them that needs judging. A head is plain when its bytes match the pattern below
and every field that could frame, route or end something is absent or has its one usual value; whatever is
not plain goes to `lb.http1.head`, which is the oracle: for any bytes the recogniser declines, or gives the
very verdict that the judge would. It may only ever be stricter. `tests/http/test_plain.py` holds it to
that, and it saves about four fifths of the cost of a head.
"""

import re
from functools import lru_cache

from lb.http1.body import CHUNKED
from lb.http1.fields import TOKEN
from lb.http1.request_head import RequestHead, is_host, judge_request
from lb.http1.response_head import ResponseHead, judge_response

# Possessive quantifiers: nothing here could match in a second way, and not remembering it saves a quarter.
FIELD_LINES = rb"((?:" + TOKEN + rb"+:[ \t]*+(?:[!-~\x80-\xff][\t -~\x80-\xff]*+)?+\r\n)*+)\r\n"
PLAIN_REQUEST = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (/[!-\"$-~]*) HTTP/1\.1\r\n" + FIELD_LINES
)
PLAIN_RESPONSE = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([\t -~\x80-\xff]*)\r\n" + FIELD_LINES)
TELLING_OF_REQUEST = re.compile(
    rb"\n(host|connection|content-length|transfer-encoding|expect|max-forwards|via|forwarded|te|trailer|upgrade"
    rb"|keep-alive|proxy-connection|proxy-authenticate|proxy-authorization|http2-settings"
    rb"|x[-_.]forwarded[-_.][a-z]+|x[-_.]real[-_.]ip|x[-_.]request[-_.]id):[ \t]*([^\r\n]*)",
    re.IGNORECASE,
)
TELLING_OF_RESPONSE = re.compile(
    rb"\n(connection|content-length|transfer-encoding|date|te|trailer|upgrade"
    rb"|keep-alive|proxy-connection|proxy-authenticate|proxy-authorization|http2-settings):[ \t]*([^\r\n]*)",
    re.IGNORECASE,
)
CUT = re.compile(rb"\n(?:connection|content-length|transfer-encoding):[^\n]*+(?=\n)", re.IGNORECASE)
"""Begins with the line end before it, which the pattern's compiler knows how to look for."""
ONE_OPTION = frozenset((b"keep-alive", b"close"))
WITHOUT_A_BODY = frozenset((b"204", b"304"))
MEMO_BYTES = 512
MEMO_HEADS = 512
LONGEST_LENGTH = 18  # digits, all of which are below 2^63


def read_request(data: bytes, default_host: bytes, target_limit: int, field_limit: int) -> RequestHead:
    """The verdict on one whole request head; as `judge_request`, and quicker where the head is plain."""
    head = recognise_request(data, target_limit, field_limit)
    return judge_request(data, default_host, target_limit, field_limit) if head is None else head


def read_response(data: bytes, method: bytes, field_limit: int) -> ResponseHead:
    """The verdict on one whole response head; as `judge_response`, and quicker where the head is plain."""
    head = recognise_response(data, method, field_limit)
    return judge_response(data, method, field_limit) if head is None else head


def recognise_request(data: bytes, target_limit: int, field_limit: int) -> RequestHead | None:
    """As `plain_request`, which is remembered for heads that are short."""
    recognise = recent_request if len(data) <= MEMO_BYTES else plain_request
    return recognise(data, target_limit, field_limit)


def recognise_response(data: bytes, method: bytes, field_limit: int) -> ResponseHead | None:
    """As `plain_response`, which is remembered for heads that are short."""
    recognise = recent_response if len(data) <= MEMO_BYTES else plain_response
    return recognise(data, method, field_limit)


def plain_request(data: bytes, target_limit: int, field_limit: int) -> RequestHead | None:
    """The verdict on a plain head, or None: it is for the judge to say."""
    match = PLAIN_REQUEST.fullmatch(data) if data.count(b"\n") - 2 <= field_limit else None
    if match is None:
        return None
    method, target, lines = match.groups()
    begin, end = match.start(3) - 1, match.end(3)
    if len(target) > target_limit:
        return None
    host: bytes | None = None
    length: int | None = None
    has_cuts, stays = False, True
    for name, value in TELLING_OF_REQUEST.findall(data, begin, end):
        match name.lower():
            case b"host" if host is None:
                host = value.rstrip()
            case b"content-length" if length is None and value.isdigit() and len(value) <= LONGEST_LENGTH:
                length, has_cuts = int(value), True
            case b"connection" if (option := value.lower()) in ONE_OPTION:
                has_cuts, stays = True, stays and option == b"keep-alive"
            case _:
                return None
    if host is None or not is_host(host):
        return None
    head = RequestHead(method, target, is_1_0=False)
    head.host, head.length, head.keep_alive = host, length, stays
    head.lines = CUT.sub(b"", data[begin:end])[1:] if has_cuts else lines
    return head


def plain_response(data: bytes, method: bytes, field_limit: int) -> ResponseHead | None:
    """The verdict on a plain head of a final answer, or None: it is for the judge to say."""
    match = PLAIN_RESPONSE.fullmatch(data) if data.count(b"\n") - 2 <= field_limit else None
    if match is None:
        return None
    status, reason, lines = match.groups()
    begin, end = match.start(3) - 1, match.end(3)
    has_body = method != b"HEAD" and status not in WITHOUT_A_BODY
    length: int | None = None
    has_date, has_cuts, stays = False, False, True
    for name, value in TELLING_OF_RESPONSE.findall(data, begin, end):
        match name.lower():
            case b"date":
                has_date = True
            case b"content-length" if length is None and value.isdigit() and len(value) <= LONGEST_LENGTH:
                length, has_cuts = int(value), True
            case b"transfer-encoding" if length is None and value.lower() == b"chunked":
                length, has_cuts = CHUNKED, True
            case b"connection" if (option := value.lower()) in ONE_OPTION:
                has_cuts, stays = True, stays and option == b"keep-alive"
            case _:
                return None
    if (has_body and length is None) or (status == b"204" and length is not None):
        return None
    head = ResponseHead(int(status), reason)
    head.has_date, head.length, head.keep_alive = has_date, length if has_body and length else 0, stays
    head.announced = None if length == CHUNKED else length
    head.lines = CUT.sub(b"", data[begin:end])[1:] if has_cuts else lines
    return head


recent_request = lru_cache(MEMO_HEADS)(plain_request)
recent_response = lru_cache(MEMO_HEADS)(plain_response)
"""The same head comes again and again: a verdict is never changed, so it can be given twice. Only short heads
are remembered, so that all that is remembered is short too; what is always different costs half a
microsecond more for it."""
