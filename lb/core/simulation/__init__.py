"""A registry that is not real: for dry runs and for what-if."""
