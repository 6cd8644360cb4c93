"""The decisions, pure: no sockets, no clock, no chance, no logging. Time and chance come in as arguments.

Everything here is plain `def`. Nothing can interleave with a plain function under Trio, so a function is
our lock, and what it leaves behind is consistent at every await of the callers.
"""
