"""The last word of a manager whose pool was killed: what had not begun on its node."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from shoal.wire.starting import UNBEGUN, ManagerSpec

__all__ = ["leave_word"]


def leave_word(spec: ManagerSpec, keys: list[tuple[int, int, int]]) -> None:
    """Write down which attempts came here and did not begin, nor will.

    Args:
        spec: of the manager.
        keys: ``(client, tid, attempt)`` each.
    """
    path = Path(spec.folder) / f"block-{spec.block}-{os.getpid()}{UNBEGUN}"
    with suppress(OSError):  # a full disk: then they count as begun
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.msgpack.encode(keys))
        Path(f"{path}.new").rename(path)
