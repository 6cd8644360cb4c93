"""What the operator may set: structs with their defaults, files, flags, reloads, the state file, tokens."""
