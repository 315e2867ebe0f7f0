"""What was sent below each task cell, as a notebook would save it, for pages that did not get it. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Record", "Records"]

MOST_BYTES = 500_000
"""Characters that are kept of one cell."""

MOST_CELLS = 300
"""Cells that are kept; the one that began first goes first."""

MOST_OF_ALL = 32_000_000
"""Characters that are kept of all cells."""

_NOTE = 200
_LEFT_OUT = "[what was printed before this is not kept for a page that was loaded anew]\n"
_TOO_LARGE = "[too large to be kept for a page that was loaded anew]"


@dataclass(frozen=True, slots=True)
class _Output:
    """One output.

    Args:
        display_id: for updates; empty where there is none.
        body: the output as in nbformat; of streams without their text.
        text: the pieces of a stream.
        size: characters.
    """

    display_id: str
    body: dict[str, Any]
    text: list[str]
    size: int


class Record:
    """What is below one cell.

    Args:
        request: the id of the message that ran it.
        session: of the client that sent it.
        restored: whether an earlier kernel ran the cell.

    Attributes:
        cut: whether something was too large to be kept whole.
    """

    def __init__(self, request: str, session: str, restored: bool) -> None:
        self.request, self.session, self.restored = request, session, restored
        self.cut = False
        self._outputs: list[_Output] = []
        self._size = 0

    @property
    def size(self) -> int:
        """Characters that are kept."""
        return self._size

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """Note one message.

        Args:
            kind: ``stream``, ``display_data``, ``update_display_data`` or ``error``; others are no output.
            content: the message's.
        """
        if kind == "stream":
            self._print(content["name"], content["text"])
        elif kind == "error":
            keys = ("ename", "evalue", "traceback")
            body = {"output_type": "error", **{key: content[key] for key in keys}}
            self._add(_Output("", body, [], len(content["evalue"]) + sum(map(len, content["traceback"]))))
        elif kind in ("display_data", "update_display_data"):
            self._show(content, kind == "update_display_data")
        self._shrink()

    def outputs(self) -> list[dict[str, Any]]:
        """The outputs as nbformat has them."""
        return [{**each.body, "text": "".join(each.text)} if each.text else dict(each.body) for each in self._outputs]

    def display_ids(self) -> list[str]:
        """The display id of each output, empty where it has none."""
        return [each.display_id for each in self._outputs]

    def _add(self, output: _Output) -> None:
        self._outputs.append(output)
        self._size += output.size

    def _replace(self, index: int, output: _Output) -> None:
        self._size += output.size - self._outputs[index].size
        self._outputs[index] = output

    def _print(self, name: str, text: str) -> None:
        last = self._outputs[-1] if self._outputs else None
        if last is not None and last.body.get("name") == name:
            last.text.append(text)
            self._replace(len(self._outputs) - 1, replace(last, size=last.size + len(text)))
        elif text:
            self._add(_Output("", {"output_type": "stream", "name": name}, [text], len(text)))

    def _show(self, content: dict[str, Any], update: bool) -> None:
        display_id = str((content.get("transient") or {}).get("display_id") or "")
        body = {"output_type": "display_data", "data": content["data"], "metadata": content["metadata"]}
        output = _Output(display_id, body, [], _size_of(content["data"]))
        if not update:
            self._add(output)
            return
        for index, known in enumerate(self._outputs):
            if display_id and known.display_id == display_id:
                self._replace(index, output)

    def _shrink(self) -> None:
        """Let go of the oldest text first, then of the largest display."""
        if self._size <= MOST_BYTES:
            return
        self.cut = True
        for index, output in enumerate(self._outputs):
            if self._size <= MOST_BYTES:
                return
            if output.text:
                keep = max(0, output.size - (self._size - MOST_BYTES) - MOST_BYTES // 10 - len(_LEFT_OUT))
                text = _LEFT_OUT + "".join(output.text)[output.size - keep :]
                if len(text) < output.size:
                    self._replace(index, replace(output, text=[text], size=len(text)))
        while self._size > MOST_BYTES:
            index = max(range(len(self._outputs)), key=lambda index: self._outputs[index].size)
            output = self._outputs[index]
            note = {"data": {"text/plain": f"{_plain(output.body)[:_NOTE]}\n{_TOO_LARGE}"}, "metadata": {}}
            small = _Output(output.display_id, {"output_type": "display_data", **note}, [], 2 * _NOTE)
            if output.size <= small.size:  # very many small ones
                index, small = 0, _Output("", {"output_type": "stream", "name": "stdout"}, [_LEFT_OUT], len(_LEFT_OUT))
                for gone in self._outputs[: len(self._outputs) // 2]:
                    self._size -= gone.size
                del self._outputs[: len(self._outputs) // 2]
                self._outputs.insert(0, small)
                self._size += small.size
            else:
                self._replace(index, small)


class Records:
    """The records of one kernel's cells."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._size = 0

    def begin(self, cell: str, request: str, session: str = "", restored: bool = False) -> None:
        """Output of a request is about to come; what was below the cell before is gone, unless it is of the same request.

        Args:
            cell: the cell's id.
            request: the id of the message that ran it.
            session: of the client that sent it.
            restored: whether an earlier kernel ran the cell.
        """
        known = self._records.get(cell)
        if known is None or known.request != request:
            self._drop(cell)
            self._records[cell] = Record(request, session, restored)
            if len(self._records) > MOST_CELLS:
                self._drop(next(iter(self._records)))

    def ran(self, cell: str, request: str) -> None:
        """A cell runs, by which request: what an earlier one left below it is gone."""
        known = self._records.get(cell)
        if known is not None and known.request != request:
            self._drop(cell)

    def take(self, cell: str, request: str, kind: str, content: dict[str, Any]) -> None:
        """A message was sent below a cell. That of a request which is not the cell's last one is left out."""
        record = self.get(cell)
        if record is None or record.request != request:
            return
        before = record.size
        record.take(kind, content)
        self._size += record.size - before
        while self._size > MOST_OF_ALL:
            self._drop(next(iter(self._records)))

    def _drop(self, cell: str) -> None:
        known = self._records.pop(cell, None)
        if known is not None:
            self._size -= known.size

    def get(self, cell: str) -> Record | None:
        """What is below a cell; None if nothing is known."""
        return self._records.get(cell)

    def __iter__(self) -> Iterator[tuple[str, Record]]:
        """Each cell's id with its record."""
        return iter(list(self._records.items()))

    def __len__(self) -> int:
        """How many cells."""
        return len(self._records)


def _plain(body: dict[str, Any]) -> str:
    return str(body.get("data", {}).get("text/plain") or "\n".join(body.get("traceback", ())) or body.get("evalue", ""))


def _size_of(data: dict[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else len(repr(value)) for value in data.values())
