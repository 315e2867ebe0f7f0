"""The command line without a process of its own, which takes a while to start."""

from __future__ import annotations

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout

from shoal.cli import main


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run ``shoal`` with these words here; what it printed, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as end:  # so end --help and unknown words
            code = end.code or 0
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
