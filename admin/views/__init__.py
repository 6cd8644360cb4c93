"""How backends, events, metrics and failures are written for readers."""
