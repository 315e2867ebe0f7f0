"""The pool process: an interchange, its blocks, and the connection file that leads to it."""
