"""Bytes to messages and back, without I/O. h11 judges every head that is not plain; what it lets pass is
judged once more.

head_reader       collects a head from received bytes, and has it judged
request_line      the first line of a request, and what comes in its place
request_head      the judge of requests, and the head that a backend gets
response_head     the judge of responses, and the head that a client gets
head_syntax       what both judges share
authority         is this a host and port?
fast_head         the verdict on plain heads, line by line; the judges are its oracle
fields            the names of fields that frame, route, identify or end here
keep_alive        how long a server says that it keeps a connection
forwarded_fields  what is added for the backend: X-Forwarded-*, Forwarded, Via, X-Request-Id
body              the framings of a body
error_answer      the responses that are our own
"""
