"""Who may ask for what: hosts and origins, tokens and scopes, addresses of backends, hidden secrets."""
