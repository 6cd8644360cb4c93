"""Sockets: who accepts, who owns which connection, and how one exchange travels.

`server` accepts and starts one task per client connection; `client` is that task; `exchange` takes one
request to a backend and its answer back; `tunnel` is what is left after an upgrade. `wire` is the one place
that touches a socket's bytes, `dial` connects, `idle` keeps connections for reuse, `names` resolves.
"""
