"""What the operator may set. Every default of every setting stands in this folder, beside its type and rule:

    balancer_settings    Config: listeners, timeouts, limits, routes, the admin side, the demo
    pool_settings        PoolSettings: policy, queue, probe, ejection, retry, hedge, hash, sticky, tls
    tls_settings         TlsSettings: our certificates, and what is asked of clients
    cluster_settings     ClusterSettings: the etcd in which several balancers share what operators wish
    discover_settings    DiscoverSettings: where the backends of a pool are found
    backend_spec         BackendSpec: url, weight, caps, labels
    acme_settings        AcmeSettings: names, directories, storage, challenge of certificates by ACME
    listen_address       the notations of an address that we accept on
    dns_url              the notations of what name servers are asked for
    named_code           what only the configuration may name: code to import, files to open
    admin_defaults       where the operator's side is unless told otherwise
    pool_values          the rules of single values of pools: statuses, keys of hashes, fields
    values               the rules of single values: durations, sizes, counts, tokens

The structs are frozen data: durations in seconds, sizes in bytes, shares from 0 to 1. `lb.config` makes a
Config from a file and flags. Nothing here imports the rest of the program, so every layer may import it.
"""
