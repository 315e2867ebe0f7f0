"""A future as a card in a notebook."""

from __future__ import annotations

from typing import Any

from shoal.card import card, duration

__all__ = ["as_card"]

_SHOWN = 4000
"""Characters of a stream that a card shows, from its end."""


def as_card(title: str, status: str, record: Any, streams: dict[str, str]) -> str:
    """How the task is, where it ran, what it printed and how its attempts ended, as HTML.

    Args:
        title: the words for it.
        status: as of ``task_status()``.
        record: a :class:`shoal.record.tasks.TaskRecord`, or None where nothing is known.
        streams: what it printed.
    """
    facts, texts = _facts(record) if record is not None else ([], [])
    if status == "done":
        facts.append(".result() gives its value")
    for stream, text in streams.items():
        if text:
            texts.append((f"{stream}, {len(text):,} characters", text[-_SHOWN:]))
    return card(title, status, facts, texts)


def _facts(record: Any) -> tuple[list[str], list[tuple[str, str]]]:
    facts = [f"on {record.worker}" if record.worker else record.executor]
    if record.started and record.ended:
        facts.append(duration(record.ended - record.started))
    if record.fail_count:
        facts.append(f"{record.fail_count} failed attempt{'' if record.fail_count == 1 else 's'}")
    if record.error:
        facts.append(record.error)
    tried = "\n".join(map(str, record.attempts))
    return [fact for fact in facts if fact], [("attempts", tried)] if len(record.attempts) > 1 else []
