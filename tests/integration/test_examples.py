"""The examples, each run as somebody would who has just read it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_pi_is_estimated(tmp_path: Path) -> None:
    """Three estimates, and their mean is nearer than a hundredth."""
    printed = run("pi", tmp_path)
    found = re.search(r"^mean: ([\d.]+)$", printed, re.MULTILINE)
    assert found is not None
    assert abs(float(found[1]) - 3.14159) < 0.01
    values = [float(v) for v in re.findall(r"[abc]: ([\d.]+)", printed)]
    assert len(set(values)) == 3
    assert abs(sum(values) / 3 - float(found[1])) < 1e-4


def test_words_of_files_are_counted(tmp_path: Path) -> None:
    """Of files that it makes, and of files that it is given."""
    assert run("map_reduce", tmp_path).split()[:2] == ["420", "the"]
    (tmp_path / "a.txt").write_text("eel eel Eel cod")
    (tmp_path / "b.txt").write_text("cod, eel")
    assert run("map_reduce", tmp_path, "a.txt", "b.txt").split() == ["4", "eel", "2", "cod"]


def test_a_pipeline_of_tools_runs(tmp_path: Path) -> None:
    """6,000 lines in three logs; i*i % 7 is 2 for two sevenths of them."""
    count, page = run("bash_pipeline", tmp_path).split()
    expected = {residue: sum(i * i % 7 == residue for n in (1, 2, 3) for i in range(1000 * n)) for residue in (1, 2, 4)}
    assert int(count) == max(expected.values())
    assert expected[int(page.removeprefix("/page"))] == int(count)


def test_a_graph_grows_until_the_area_is_right(tmp_path: Path) -> None:
    """It is refined where the curve has its peak, and nowhere else."""
    found = re.fullmatch(r"area ([\d.]+), (\S+) off, after (\d+) tasks\n", run("growing", tmp_path))
    assert found is not None
    assert float(found[2]) < 1e-6
    assert 50 < int(found[3]) < 2000


def test_a_flaky_task_is_tried_again(tmp_path: Path) -> None:
    """As often as its budget lasts, and a plain mistake only once."""
    printed = run("flaky", tmp_path)
    assert "answered try 3" in printed
    assert "ConnectionError: no answer to try 4, after 4 attempts" in printed
    assert "ValueError: always wrong, after 1 attempts" in printed


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was done before the kill is not done again, but for the steps that ran at that moment."""
    found = re.search(
        r"killed with (\d+) of 20 .*\nsum (\d+); the second run ran (\d+) steps", run("restart", tmp_path)
    )
    assert found is not None
    done, total, again = map(int, found.groups())
    assert total == sum(step * step for step in range(20))
    assert again <= 20 - done + 2


def test_every_example_is_run_here() -> None:
    """An example that nobody runs is soon wrong."""
    source = Path(__file__).read_text()
    missing = [path.stem for path in EXAMPLES.glob("*.py") if f'run("{path.stem}"' not in source]
    assert missing == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_says_what_it_is_about(path: Path) -> None:
    """In its first line."""
    assert path.read_text().startswith('"""')
