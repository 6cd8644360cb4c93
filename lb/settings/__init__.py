"""What the operator may set. Every default of every setting stands in this folder, beside its type and rule:

    balancer_settings    Config: listeners, timeouts, limits, routes, the admin side, the demo
    pool_settings        PoolSettings: policy, queue, probe, ejection, retry, hedge, hash, sticky
    backend_spec         BackendSpec: url, weight, caps, labels
    listen_address       the notations of an address that we accept on
    values               the rules of single values: durations, sizes, counts, tokens

The structs are frozen data: durations in seconds, sizes in bytes, shares from 0 to 1. `lb.config` makes a
Config from a file and flags. Nothing here imports the rest of the program, so every layer may import it.
"""
