"""Whether a failed attempt is followed by another."""

from __future__ import annotations

__all__ = ["another_attempt"]


def another_attempt(attempt: int, retries: int, final: bool) -> bool:
    """Whether attempt ``attempt + 1`` should be made.

    Args:
        attempt: the attempt that failed, from 1.
        retries: attempts allowed beyond the first.
        final: the failure would repeat in any attempt.
    """
    return not final and attempt <= retries
