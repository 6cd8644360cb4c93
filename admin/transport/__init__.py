"""Hypercorn's handling of one connection, on listeners and streams of our own.

binding             listeners on TCP, on a Unix socket, or on an inherited descriptor
accepting           the accept loop, and descriptors in reserve
admission           how many connections there may be, and which one gives way
admitted            the app, as a connection with its place calls it
door                handshakes, where operators come over TLS
secure_stream       the stream of a connection whose handshake is done
bounded_stream      a stream whose sends and whose closing have time limits
hypercorn_connection    the connection class, its settings, and the shield around the app's sends
"""
