"""Sockets without HTTP: listen, connect, resolve, wait, send, receive, splice, time out; PROXY headers."""
