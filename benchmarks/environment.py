"""The environment of the peers: .bench-venv, made when it is missing or a peer is new."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".bench-venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.txt"

SHARED = ("numpy", "psutil")
"""What the measurements themselves use: the same versions as in the project's environment."""


class EnvironmentFailed(Exception):
    """Something cannot be made or installed; the message has the installer's own words."""


def ensure(requirements: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Make the environment hold what the peers need, next to what it holds already.

    Args:
        requirements: of each peer, by its name.

    Returns:
        The peers whose requirements cannot be installed, and why.

    Raises:
        EnvironmentFailed: the environment itself cannot be made.
    """
    python = f"python {sys.version.split()[0]}"
    shared = {f"{name}=={version(name)}" for name in SHARED}
    wanted = shared.union(*requirements.values())
    present = set(STAMP.read_text().splitlines()) if STAMP.exists() else set()
    if python in present and wanted <= present:
        return {}
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if python not in present:
        shutil.rmtree(VENV, ignore_errors=True)
        present = set()
        make = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
        _run([*make, str(VENV)])
    pip = [uv, "pip", "install", "--python", str(PYTHON)] if uv else [str(PYTHON), "-m", "pip", "install"]

    def install(present: set[str], more: set[str]) -> set[str]:
        # with what is there already, so that nothing moves below a version that another peer needs
        lines = {line for line in present if not _replaced(line)} | more
        _run([*pip, "--quiet", *sorted(line for line in lines if line != python)])
        STAMP.write_text("\n".join(sorted(lines | {python})) + "\n")
        return lines

    try:
        install(present, wanted)
        return {}
    except EnvironmentFailed:
        present = install(present, shared)
    missing = {}
    for name, lines in requirements.items():
        try:
            present = install(present, shared.union(lines))
        except EnvironmentFailed as failure:
            missing[name] = str(failure)
    return missing


def _replaced(line: str) -> bool:
    """Whether a line of the stamp pins a shared package, whose version follows the project's environment."""
    return line.startswith(tuple(f"{name}==" for name in SHARED))


def _run(command: list[str]) -> None:
    print("+ " + " ".join(command), flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentFailed(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout).strip()}")
