"""What tasks print while their client is away: the last of it is kept until somebody reads it."""

from __future__ import annotations

from collections import OrderedDict, deque

from shoal.dispatch.events import Key
from shoal.wire.messages import Output

__all__ = ["CUT", "EACH", "MOST", "Unread"]

EACH = 64 << 10
"""Bytes, about, that are kept of one task."""

MOST = 16 << 20
"""Bytes, about, that are kept of all tasks together."""

CUT = "[what it printed before this was not kept]\n"
"""Stands before a text that does not begin at its beginning."""

_PIECE = 128
"""What a piece of text takes besides its characters."""


class _Text:
    """What one task has printed."""

    def __init__(self) -> None:
        self.pieces: deque[tuple[str, str]] = deque()
        self.size = 0
        self.cut = False

    def add(self, stream: str, text: str, most: int) -> None:
        if len(text) > most:
            text, self.cut = text[-most:], True
        self.pieces.append((stream, text))
        self.size += len(text) + _PIECE
        while self.size > most and len(self.pieces) > 1:
            _, gone = self.pieces.popleft()
            self.size -= len(gone) + _PIECE
            self.cut = True

    def read(self) -> list[tuple[str, str]]:
        """The pieces, those of one stream that follow each other put together."""
        joined: list[tuple[str, list[str]]] = []
        if self.cut:
            joined.append((self.pieces[0][0] if self.pieces else "stdout", [CUT]))
        for stream, text in self.pieces:
            if joined and joined[-1][0] == stream:
                joined[-1][1].append(text)
            else:
                joined.append((stream, [text]))
        return [(stream, "".join(texts)) for stream, texts in joined]


class Unread:
    """The texts of a pool's tasks whose clients are away.

    Args:
        each: what is kept of a task, in bytes, about.
        most: what is kept of all tasks together; those that printed longest ago lose theirs first.
    """

    def __init__(self, each: int = EACH, most: int = MOST) -> None:
        self._each, self._most = each, most
        self._texts: OrderedDict[Key, _Text] = OrderedDict()
        self._lost: set[Key] = set()
        self._size = 0

    def add(self, output: Output) -> None:
        """A task has printed, and its client is away."""
        key = (output.client, output.tid, output.attempt)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = _Text()
            text.cut = key in self._lost
            self._lost.discard(key)
        self._size -= text.size
        text.add(output.stream, output.text, self._each)
        self._size += text.size
        self._texts.move_to_end(key)
        while self._size > self._most and len(self._texts) > 1:
            other, oldest = self._texts.popitem(last=False)
            self._size -= oldest.size
            self._lost.add(other)

    def take(self, client: int) -> list[Output]:
        """What there is for a client; it is not kept any longer."""
        found = []
        for key in [key for key in self._texts if key[0] == client]:
            text = self._texts.pop(key)
            self._size -= text.size
            found += [Output(*key, stream, piece) for stream, piece in text.read()]
        lost = [key for key in self._lost if key[0] == client]
        self._lost.difference_update(lost)
        return found + [Output(*key, "stdout", CUT) for key in lost]
