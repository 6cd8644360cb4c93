"""Backends that are found: one task for each source of a pool, one set of rules for all."""
