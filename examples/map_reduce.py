"""Map-reduce over files: a task counts the words of each file, and others put the counts together, two by two."""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import shoal
from shoal import File


@shoal.python_app
def count(text: File) -> Counter[str]:
    """The words of one file, and how often each comes."""
    return Counter(re.findall(r"[a-z]+", Path(text).read_text().lower()))


@shoal.python_app
def merge(left: Counter[str], right: Counter[str]) -> Counter[str]:
    """Two counts as one."""
    return left + right


def word_counts(files: list[Path]) -> Counter[str]:
    """Count the words of all files."""
    counts = count.map([File(path) for path in files])
    while len(counts) > 1:  # a tree of merges, of which many run at a time
        counts = [*counts[2:], merge(counts[0], counts[1])]
    return counts[0].result()


def main() -> Counter[str]:
    """Count the words of the files named, or of some made for the purpose."""
    files = [Path(name) for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder, shoal.load():
        if not files:
            for number in range(20):
                files.append(Path(folder) / f"{number}.txt")
                files[-1].write_text("the fish swim with the shoal " * (number + 1) + "and back")
        counts = word_counts(files)
        for word, times in counts.most_common(5):
            print(f"{times:6} {word}")
        return counts


if __name__ == "__main__":
    main()
