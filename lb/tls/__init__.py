"""TLS without a socket: what a client asks for, which certificate it gets, and why it got none.

    client_hello      the first message of a handshake, read before there is an SSL object
    certificate       the facts of one certificate: names, issuer, days, key, chain
    contexts          the SSL contexts, for clients and for backends
    certificates      what is served, and how that changes while connections live
    draft             collects what is to be served, from the settings and what their files hold
    table             which server name gets which context, and what is asked of clients there
    to_backends       the context of a pool whose backends have https URLs
    pem_files         the files of all that: what is in them, and what shows that they are others than before
    requirement       the package that is needed, and what to do where it is missing
    raw_answers       what is sent in place of a handshake
    refusal           why a handshake was refused, in words
    backend_refusal   why TLS with a backend did not come about

A *server name* is what the client asks for (RFC 6066 calls it SNI). A *certificate* is a leaf with its chain
and its key. This folder is imported where TLS is configured only: it needs the package `cryptography`.
"""
