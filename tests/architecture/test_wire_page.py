"""The page about the wire says what the messages say."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

from sources import ROOT

from shoal.wire.messages import Message

PAGE = ROOT / "docs" / "concepts" / "wire.md"


def test_the_tables_are_those_of_the_messages():
    """``python tools/wire_table.py`` would change nothing: every message, its fields and who sends it to whom."""
    command = [sys.executable, ROOT / "tools" / "wire_table.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sequences_speak_of_messages_that_exist():
    """What stands on an arrow of a sequence drawing begins with the name of a message, or is in parentheses."""
    names = {kind.__name__ for kind in get_args(Message)}
    arrows = [line.strip() for line in PAGE.read_text().splitlines() if "->>" in line]
    assert len(arrows) > 20
    unknown = [a for a in arrows if not a.partition(":")[2].strip().startswith("(")]
    unknown = [a for a in unknown if a.partition(":")[2].split()[0].strip(",:()") not in names]
    assert unknown == []
