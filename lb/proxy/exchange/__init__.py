"""One request and its response: attempts, both bodies, hedges, tunnels."""
