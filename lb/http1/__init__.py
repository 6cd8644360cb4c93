"""Bytes to messages and back, without I/O. h11 judges every head; what it lets pass is judged once more.

`head` reads the two kinds of head, `body` the ways a body can be framed, `fields` knows which fields stop
here and which are ours to add, `answer` makes the answers that are our own.
"""
