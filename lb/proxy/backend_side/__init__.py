"""The backends' side: connections that are opened, lent to attempts, and kept idle."""
