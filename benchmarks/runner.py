"""Runs measurements, each in a process of its own, and leaves none of their processes behind."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.environment import PYTHON, ROOT
from benchmarks.plan import Step

TIMEOUT = 300.0
"""Seconds after which a measurement counts as failed."""

GRACE = 3.0
"""Seconds that processes of a system may outlive the measurement, before they are killed."""

_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of processes whose parent ends, so that all that a measurement started can be found."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def run(step: Step, module: str, workers: int) -> dict[str, object]:
    """Do one measurement.

    Args:
        step: which.
        module: where the system's class lives.
        workers: how many workers it gets.

    Returns:
        The record for the raw results: with ``figures``, or with ``error``.
    """
    record: dict[str, object] = {
        "round": step.round, "case": step.case.name, "peer": step.peer.name, "count": step.count, "workers": workers,
    }  # fmt: skip
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out, log = Path(folder, "out.json"), Path(folder, "log")
        python = Path(sys.executable) if step.peer.project else PYTHON
        command = [str(python), "-m", "benchmarks.child", module, step.peer.name, step.case.name]
        command += [str(step.count), str(workers), str(out)]
        ended = _execute(command, _environment(python, folder), log)
        record["left_processes"] = _sweep()
        if ended == "" and out.exists():
            record.update(json.loads(out.read_text()))
        else:
            record["error"] = ended or "it wrote no results"
            record["log"] = log.read_text(errors="replace")[-4000:]
    record["seconds"] = round(time.monotonic() - began, 2)
    return record


def _environment(python: Path, folder: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV", "SHOAL"))}
    path = f"{python.parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "SHOAL_HOME": str(Path(folder, "home"))}


def _execute(command: Sequence[str], environment: dict[str, str], log: Path) -> str:
    """Run the command with the time of its start as its last argument; why it failed, or nothing."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, str(time.monotonic_ns())],
            cwd=log.parent, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"not done after {TIMEOUT:.0f} s"
        except BaseException:
            process.kill()
            process.wait()
            _sweep(0.0)
            raise
    if code:
        lines = log.read_text(errors="replace").strip().splitlines()
        return f"exit status {code}: {lines[-1] if lines else 'no message'}"
    return ""


def _sweep(grace: float = GRACE) -> int:
    """Wait for processes that are left of a measurement, then kill them. How many had to be killed."""
    left = psutil.Process().children(recursive=True)
    _, alive = psutil.wait_procs(left, timeout=grace)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=GRACE)
    return len(alive)
