"""The capture rule: what variables of the notebook that a function uses cost at each submission."""

from __future__ import annotations

import sys
import time

from benchmarks.case import Figures
from benchmarks.peers.peer import Peer

CELL = """
DEPTH, NAME, SIZES = 3, "fit", (1, 2, 3)
OPTIONS = {"depth": 3, "alpha": 0.1, "columns": ["a", "b"]}

class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y
    def norm(self):
        return (self.x ** 2 + self.y ** 2) ** 0.5

def none():
    return None

def stable():
    DEPTH, NAME, SIZES

def dict_():
    OPTIONS

def class_():
    Point
"""


def rates(peer: Peer, count: int) -> Figures:
    """For functions of a notebook: whole tasks a second, and the look at the captured variables alone."""
    from shoal import python_app
    from shoal.serialize import FunctionImage

    main = sys.modules["__main__"].__dict__
    exec(compile(CELL, "<a cell>", "exec"), main)
    figures = {}
    for key in ("none", "stable", "dict", "class"):
        function = main.get(f"{key}_") or main[key]
        app = python_app(function)
        peer.collect([app() for _ in range(count // 10)])
        began = time.perf_counter()
        peer.collect([app() for _ in range(count)])
        figures[f"{key}.rate"] = count / (time.perf_counter() - began)
        image = FunctionImage(function, key)
        image.snapshot()
        began = time.perf_counter()
        for _ in range(count):
            image.snapshot()
        figures[f"{key}.check"] = 1e6 * (time.perf_counter() - began) / count
    return figures
