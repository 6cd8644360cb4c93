"""The page at / for browsers."""
