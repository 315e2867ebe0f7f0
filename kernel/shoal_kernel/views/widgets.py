"""The live graph as a widget, for front ends without Shoal's lab extension."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from shoal.errors import CellError
from shoal_kernel.views.columns import Message
from shoal_kernel.views.feed import Feed
from shoal_kernel.views.pages import answer_at_once

__all__ = ["GraphWidget"]

_CODE = Path(__file__).parents[1] / "static" / "graph.js"


def _as_state(_version: int, widget: Any) -> dict[str, Any]:
    """What a page that opens gets: everything up to now, whenever it asks for the widget's state."""
    message: Message = widget.feed.snapshot()
    return {"head": message.head, "buffers": message.buffers}


class GraphWidget(anywidget.AnyWidget):
    """One model for the kernel, any number of views. ``%graph`` makes it.

    Args:
        feed: what follows the session.

    Attributes:
        snapshot: grows when the saved state is to be written anew; what travels is everything up to now.
        looked_at: whether a page ever showed it.
    """

    _esm = _CODE
    snapshot = traitlets.Int(0).tag(sync=True, to_json=_as_state)

    def __init__(self, feed: Feed) -> None:
        if not _CODE.exists():
            raise CellError(
                f"the graph's drawing code, {_CODE.name}, is not built", "run 'npm run build' in the source tree"
            )
        self.feed = feed
        self.looked_at = False
        super().__init__()
        answer_at_once(self.comm)
        self.on_msg(self._on_message)

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What shows a view of it."""
        bundle = self._repr_mimebundle_()
        assert bundle is not None
        return bundle

    def save(self) -> None:
        """Send the state that is saved with the notebook."""
        self.snapshot += 1

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        if isinstance(content, dict) and content.get("kind") == "look":
            self.looked_at = True
            self.feed.look()
