"""Whether a failed attempt is followed by another."""

from __future__ import annotations

__all__ = ["another_attempt"]


def another_attempt(spent: float, retries: float, final: bool) -> bool:
    """Whether another attempt should be made.

    Args:
        spent: the costs of the attempts that have failed, together; a plain failure costs 1.
        retries: the budget.
        final: the failure would repeat in any attempt.
    """
    return not final and spent <= retries
