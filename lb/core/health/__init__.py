"""What probes and exchanges show about one backend, and when that takes it out."""
