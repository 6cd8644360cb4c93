"""The commands that talk to a running balancer: `lb backends`, `top`, `why`, `tap`, `drain` and others.

    commands             the command line; it imports the others only when a command runs
    backend_commands     lb backends
    drain_wait           waiting for the end of a drain, with a progress bar
    fresh_probes         waiting for probes that are asked for, and pass
    request_end          lb requests end
    balancer_commands    lb drain, lb upgrade
    tls_commands         lb certificates, lb why --tls
    top, why, tap        the command of that name
    api                  one call of the API, or one stream of events; every error becomes a `Failed`
    address              which balancer is meant, and the token for it
    terminal_text        text from elsewhere, made safe to print
    exits                exit codes, and `Failed`

The commands are a client of the admin API, as curl is, and decide nothing that the balancer decides. They use
plain blocking code: each process has nothing else to do.
"""
