"""Who may ask for what: hosts and origins, tokens, addresses of backends."""
