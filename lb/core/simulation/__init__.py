"""Registries without traffic: a copy of the real one for dry runs, and replays for what-if."""
