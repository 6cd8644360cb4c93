"""Both kinds of head under one name: requests are read in `request_head`, responses in `response_head`."""

from lb.http1.head_syntax import HOPELESS
from lb.http1.request_head import ALLOW, RequestHead, judge_request
from lb.http1.response_head import ResponseHead, judge_response

__all__ = ["ALLOW", "HOPELESS", "RequestHead", "ResponseHead", "judge_request", "judge_response"]
