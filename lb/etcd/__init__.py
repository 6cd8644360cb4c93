"""A client of etcd's JSON gateway: keys, transactions, leases, and prefixes that are followed.

etcd's guarantees for keys and transactions are kept. Those of its watches and leases are not leaned on: a
watch may end, fall silent or lose something, and a lease may be revoked while it is kept alive. So a prefix
is listed again after each end of its watch, and compared with etcd from time to time.
"""
