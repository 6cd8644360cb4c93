"""The backends' side: connections that are opened, lent and kept."""
