"""What changes have in common: the dry run, the guard of what must stay available, and the state file."""
