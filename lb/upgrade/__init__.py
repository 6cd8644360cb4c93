"""The program is replaced by another one, on the same listening sockets."""
