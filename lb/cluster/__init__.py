"""Many balancers that operators steer as one: what they wish is shared in etcd, and each applies it."""
