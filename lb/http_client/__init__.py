"""Asking servers that tell of backends over HTTP/1.1: one answer, or a stream of lines.

It is small on purpose: no redirects, cookies, proxies or compression. Everything is bounded in size and in
time, everything ends with a cancel scope, and no failure leaves a socket open.
"""
