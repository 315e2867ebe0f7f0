"""The environment of the peers: .bench-venv, made when it is missing or a peer is new."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".bench-venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.txt"

SHARED = ("numpy", "psutil")
"""What the measurements themselves use: the same versions as in the project's environment."""


class EnvironmentFailed(Exception):
    """The peers cannot be installed; the message has the installer's own words."""


def ensure(requirements: Iterable[str]) -> Path:
    """Make the environment hold the requirements, next to what it holds already.

    Returns:
        Its interpreter.

    Raises:
        EnvironmentFailed: it cannot be made, or something cannot be installed.
    """
    wanted = {*requirements, *(f"{name}=={version(name)}" for name in SHARED), f"python {sys.version.split()[0]}"}
    present = set(STAMP.read_text().splitlines()) if STAMP.exists() else set()
    if wanted <= present:
        return PYTHON
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if f"python {sys.version.split()[0]}" not in present:
        shutil.rmtree(VENV, ignore_errors=True)
        present = set()
        make = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
        _run([*make, str(VENV)])
    pip = [uv, "pip", "install", "--python", str(PYTHON)] if uv else [str(PYTHON), "-m", "pip", "install"]
    _run([*pip, "--quiet", *sorted(line for line in wanted if not line.startswith("python "))])
    STAMP.write_text("\n".join(sorted(wanted | present)) + "\n")
    return PYTHON


def _run(command: list[str]) -> None:
    print("+ " + " ".join(command), flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentFailed(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout).strip()}")
