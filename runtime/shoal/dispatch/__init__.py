"""The decisions of the interchange, as a pure machine: which attempt goes where, and what becomes of it. No I/O."""
