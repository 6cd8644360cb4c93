"""Counting without I/O: histograms, rates, sliding windows."""
