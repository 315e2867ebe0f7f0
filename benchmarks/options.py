"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

ROUNDS = 7
WORKERS = 2


class Options(argparse.Namespace):
    """What was asked for."""

    rounds: int
    only: list[str]
    peers: list[str]
    quick: bool
    workers: int
    table: Path | None
    list: bool
    no_write: bool

    @property
    def complete(self) -> bool:
        """Whether the figures of this run may stand on the page: everything, in earnest."""
        return not (self.only or self.peers or self.quick) and self.workers == WORKERS and self.rounds >= ROUNDS


def parse(arguments: Sequence[str], cases: Iterable[str], peers: Iterable[str]) -> Options:
    """Read the command line; exits with a message if it cannot be right."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Shoal and its peers in turn. A complete run writes its table to docs/benchmarks.md.",
    )
    parser.add_argument("--rounds", type=_positive, default=None, help=f"default {ROUNDS}; with --quick 1")
    parser.add_argument("--only", type=_names(cases), default=[], metavar="CASE,...", help=", ".join(cases))
    parser.add_argument("--peers", type=_names(peers), default=[], metavar="PEER,...", help=", ".join(peers))
    parser.add_argument("--quick", action="store_true", help="little work, for trying out; never written to the page")
    parser.add_argument("--workers", type=_positive, default=WORKERS, help=f"of each system; default {WORKERS}")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md as it is")
    parser.add_argument("--table", type=Path, metavar="FILE", help="only make the table of these raw results, again")
    parser.add_argument("--list", action="store_true", help="say what there is to measure, and on what")
    options = parser.parse_args(arguments, namespace=Options())
    options.rounds = options.rounds or (1 if options.quick else ROUNDS)
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


class _names:  # noqa: N801
    """Names out of a known set, with commas between."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known = list(known)

    def __call__(self, text: str) -> list[str]:
        """The names, in the order known."""
        given = [name.strip() for name in text.split(",") if name.strip()]
        for name in given:
            if name not in self.known:
                raise argparse.ArgumentTypeError(f"there is no '{name}'; there is: {', '.join(self.known)}")
        return [name for name in self.known if name in given]
