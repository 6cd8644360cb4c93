"""The client's side: one connection, its requests in turn, and the fast path."""
