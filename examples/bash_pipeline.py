"""A pipeline of command-line tools: each step is a bash app, and the files between them are futures."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import shoal
from shoal import File


@shoal.bash_app
def make_log(lines: int, outputs: Sequence[File] = ()) -> str:
    """Lines of a log, with an address each."""
    return f"awk 'BEGIN {{ for (i = 0; i < {lines}; i++) print \"GET /page\" (i * i) % 7 }}' > {outputs[0]}"


@shoal.bash_app
def most_wanted(inputs: Sequence[File] = (), outputs: Sequence[File] = ()) -> str:
    """The addresses of several logs by how often they come."""
    logs = " ".join(map(str, inputs))
    return f"set -o pipefail; cat {logs} | cut -d' ' -f2 | sort | uniq -c | sort -rn > {outputs[0]}"


@shoal.bash_app
def first_line(inputs: Sequence[File] = ()) -> str:
    """The first line of a file, on stdout."""
    return f"head -n 1 {inputs[0]}"


def main() -> str:
    """Three logs at a time, then one table, then its first line."""
    with tempfile.TemporaryDirectory() as folder, shoal.load():
        logs = [make_log(1000 * n, outputs=[File(f"{folder}/log{n}.txt")]) for n in (1, 2, 3)]
        table = most_wanted(inputs=[log.outputs[0] for log in logs], outputs=[File(f"{folder}/table.txt")])
        top = first_line(inputs=[table.outputs[0]], stdout=f"{folder}/out/top.txt")
        assert top.result() == 0, "the value of a bash app is its exit code"
        print(top.stdout.strip())
        return Path(folder, "out", "top.txt").read_text().strip()


if __name__ == "__main__":
    main()
