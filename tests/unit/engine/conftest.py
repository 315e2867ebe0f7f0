"""A session over an executor that does what the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal.events import RunStarted
from shoal.session import Session
from shoal.testing import ManualExecutor

Start = Callable[..., Session]


@pytest.fixture
def hand() -> ManualExecutor:
    """The executor."""
    return ManualExecutor()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts sessions, and ends them: ``start(executors, **options of Session)``."""
    made: list[Session] = []

    def begin(executors: list[ManualExecutor], **options: Any) -> Session:
        number = len(made)
        event = RunStarted(0.0, f"run-{number}", "3.11", "0", "host", 1, "{}")
        made.append(Session(executors, event.run, tmp_path / event.run, event, **options))
        return made[-1]

    yield begin
    for session in made:
        session.close()


@pytest.fixture
def session(start: Start, hand: ManualExecutor) -> Session:
    """A session with nothing but the hand."""
    return start([hand])
