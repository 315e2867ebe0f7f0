"""A flaky task is tried again: after a while, more patiently each time, and only for errors that may pass."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import shoal


@shoal.python_app(retries=3)
def fetch(marker: str, failures: int) -> str:
    """A service that answers after some failures."""
    path = Path(marker)
    tries = int(path.read_text()) if path.exists() else 0
    path.write_text(str(tries + 1))
    if tries < failures:
        raise ConnectionError(f"no answer to try {tries + 1}")
    return f"answered try {tries + 1}"


@shoal.python_app(retries=3)
def broken() -> None:
    """A mistake that no retry helps against."""
    raise ValueError("always wrong")


def cost(error: BaseException, _task: Any) -> float:
    """What a failure takes from a task's budget: all of it, unless it may pass."""
    return 1.0 if isinstance(error, ConnectionError) else float("inf")


def main() -> list[str]:
    """One that comes through, one that does not, and one that is not tried again."""
    config = shoal.Config(retry_handler=cost, backoff=shoal.Backoff(first=0.1, factor=2.0))
    with tempfile.TemporaryDirectory() as folder, shoal.load(config):
        lucky = fetch(f"{folder}/lucky", failures=2)
        unlucky = fetch(f"{folder}/unlucky", failures=99)
        wrong = broken()
        told = [lucky.result()]
        for future in (unlucky, wrong):
            error = future.exception()
            told.append(f"{type(error).__name__}: {error}, after {future.task.fail_count} attempts")
        for attempt in lucky.task.attempts:
            print(attempt)
        print("\n".join(told))
        return told


if __name__ == "__main__":
    main()
