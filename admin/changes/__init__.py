"""What changes have in common: the dry run, the guard of what must stay available, and how a change is made
to hold."""
