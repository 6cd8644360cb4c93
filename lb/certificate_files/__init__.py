"""The contexts of TLS as files change: for clients, and for backends. Reading is done in threads.

    termination         certificates that are served to clients, as their files change
    handshaking         what handshakes need in one process
    ordered             certificates that are ordered, which are served as those of files are
    watch               which files are others than when they were read
    backend_contexts    what connections to backends are made with
    handshake_log       how many handshakes there were, and the last that were refused

It is imported where TLS is configured only. What is in the files is judged in `lb.tls`.
"""
