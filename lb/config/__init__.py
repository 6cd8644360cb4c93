"""Where settings come from: `lb.toml` and flags, reloads, the state file, tokens and cookie keys.

The settings themselves, with their defaults, are in `lb.settings`.
"""
