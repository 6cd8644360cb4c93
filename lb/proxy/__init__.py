"""Sockets: who accepts, who owns which connection, and how one exchange travels.

`server` accepts on what `listen` opened and starts one task per client connection; `client` is that task.
`exchange` finds a backend for one request, `upload` is the request on its way there and `relay` the answer
on its way back; `tunnel` is what is left after an upgrade. `wire` touches a socket's bytes, `pipe` lets large
bodies pass by us; `dial` connects, `idle` keeps connections for reuse, `names` resolves.
"""
