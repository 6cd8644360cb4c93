"""The client's side: one connection, its requests in turn, the fast path, HTTP/1 towards the client."""
