"""Shared memory for large values between the processes of one host.

An :class:`Arena` is the memory of one writer, a file that exists in memory only and has no name, so that nothing is left
behind whoever dies. The writer copies a value into it once, and sends a *loan* instead of the bytes: where it lies. Readers
map the file once and copy out of it, or pass the loan on. A reader gives a loan back by a word in the shared memory, and
its place is used again: while it is warm, a copy is all that a large value costs.
"""

from __future__ import annotations

from shoal.arena.lending import LEND, Arena, Borrowed, Loan, Share, close_unless_lent, share
from shoal.arena.reading import Library, give_back

__all__ = ["LEND", "Arena", "Borrowed", "Library", "Loan", "Share", "close_unless_lent", "give_back", "share"]
