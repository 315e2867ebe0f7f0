"""A backend of matplotlib for workers: ``plt.show()`` shows the figures below the cell whose task it is."""

from __future__ import annotations

from typing import Any

from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from shoal_kernel.worker.showing import show_figures

__all__ = ["FigureCanvas", "FigureManager"]


class FigureManager(FigureManagerBase):
    """Shows by drawing."""

    @classmethod
    def pyplot_show(cls, **_options: Any) -> None:
        """What ``plt.show()`` does."""
        show_figures()


class FigureCanvas(FigureCanvasAgg):
    """Draws with Agg."""

    manager_class = FigureManager  # type: ignore[assignment, unused-ignore]
