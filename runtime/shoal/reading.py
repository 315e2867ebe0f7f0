"""Reading values that came from elsewhere: the one place where a result is unpickled for its reader."""

from __future__ import annotations

from typing import Any

from shoal.errors import ResultUnreadable
from shoal.outcome import Payload
from shoal.serialize import unpack

__all__ = ["load_value"]


def load_value(payload: Payload, task: str) -> Any:
    """The object in ``payload``.

    Args:
        payload: the pickled object.
        task: the words for its task in the error.

    Raises:
        ResultUnreadable: unpickling raised; its own error is the cause.
    """
    try:
        return unpack(payload)
    except Exception as error:  # unpickling runs the users' code (__setstate__, imports): it may raise anything
        raise ResultUnreadable(task, f"{type(error).__name__}: {error}") from error
