"""The lines of cells that become tasks."""

from __future__ import annotations

import pytest

from shoal.errors import CellError
from shoal.resources import Resources
from shoal_kernel.lines.options import (
    BashOptions,
    ParallelOptions,
    TaskOptions,
    parse_bash_options,
    parse_options,
    parse_parallel_options,
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", TaskOptions()),
        ("-i a,b", TaskOptions(reads=("a", "b"))),
        ("-i a -i b,a", TaskOptions(reads=("a", "b"))),
        ("--in 'a, b' --out c", TaskOptions(reads=("a", "b"), writes=("c",))),
        ("-i ''", TaskOptions(reads=())),
        ("--name 'two words' --quiet", TaskOptions(name="two words", quiet=True)),
        ("--executor=gpu  # where the memory is", TaskOptions(executor="gpu")),
        ("--cores 2 --memory '4 GB'", TaskOptions(resources=Resources(cores=2, memory=4 * 10**9))),
        ("--gpus 1 --priority -3", TaskOptions(resources=Resources(gpus=1, priority=-3))),
        ("--retries 2 --walltime 1.5", TaskOptions(retries=2.0, walltime=1.5)),
    ],
)
def test_options(line: str, expected: TaskOptions) -> None:
    """Names by commas or repeated, quotations, comments."""
    assert parse_options(line) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--nam x", "write --name"),
        ("x y", "no option 'x'"),
        ("--nam=x", "no option '--nam=x'"),
        ("-i", "has nothing after it"),
        ("-o 3x", "'3x' is not a variable's name"),
        ("--name 'x", "close the quotation"),
        ("--cores 0", "--cores 0.0 cannot be"),
        ("--memory lots", "'2 GB'"),
        ("--walltime 0", "--walltime 0 cannot be"),
        ("--retries -1", "--retries -1 cannot be"),
    ],
)
def test_mistakes_are_named(line: str, said: str) -> None:
    """What is wrong, and what to write."""
    with pytest.raises(CellError, match=said):
        parse_options(line)


def test_parallel_options() -> None:
    """Those of a task, and how elements are put together."""
    assert parse_parallel_options("--chunksize auto") == ParallelOptions()
    assert parse_parallel_options("--chunksize 10 --fresh --name a") == ParallelOptions(
        chunksize=10, fresh=True, name="a"
    )
    for line, said in [
        ("--chunksize 0", "--chunksize 0 cannot be"),
        ("--chunksize x", "--chunksize x cannot be"),
        ("--chunk 3", "write --chunksize"),
        ("-o x", "%%parallel has no option '-o'"),
        ("--retries 1 --chunksize 2", "leave --retries or --chunksize away"),
    ]:
        with pytest.raises(CellError, match=said):
            parse_parallel_options(line)


def test_bash_options() -> None:
    """Files by commas or repeated; one name for the exit code."""
    line = "-o code --in a.txt,b --in c --out 'd e.txt' --walltime 3"
    assert parse_bash_options(line) == BashOptions(
        bind="code", inputs=("a.txt", "b", "c"), outputs=("d e.txt",), walltime=3.0
    )
    for line, said in [
        ("-o 3x", "not a variable's name"),
        ("-o a,b", "one exit code"),
        ("--input a", "write --in"),
        ("script.sh", "%%bash_task has no option 'script.sh'"),
    ]:
        with pytest.raises(CellError, match=said):
            parse_bash_options(line)
