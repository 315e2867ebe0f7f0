"""`shoal simulate`."""

from __future__ import annotations

import pytest

from shoal.cli import main


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]):
    """`shoal simulate` takes the numbers of a scenario, and says that nothing was run."""
    assert main(["simulate", "--nodes", "4", "--workers", "2", "--tasks", "80", "--duration", "0.5"]) == 0
    text = capsys.readouterr().out
    assert "4 nodes of 2 workers, 80 tasks of 0.5 s" in text
    assert "if only the tasks took time" in text
    assert "5.00 s" in text
    assert "nothing was run" in text
    assert main(["simulate", "--nodes", "0"]) == 1
