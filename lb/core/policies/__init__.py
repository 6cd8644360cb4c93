"""Which of the candidates takes the next request: one module per family of policies."""
