"""The state diagrams of the docs are drawn from the machines' tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_diagrams_are_those_of_the_tables():
    """``python tools/state_diagrams.py`` would change nothing."""
    command = [sys.executable, ROOT / "tools" / "state_diagrams.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
