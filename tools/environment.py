"""Makes .venv and installs the project into it, with uv where it can be had and with pip otherwise.

Run by make with any Python >= 3.11, so it imports nothing but the standard library::

    python3 tools/environment.py EXTRA
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LEAST = (3, 11)


def main(extra: str) -> None:
    """Install the project, editable, with one of its extras."""
    if sys.version_info < LEAST:
        raise SystemExit(
            f"Shoal needs Python {LEAST[0]}.{LEAST[1]} or newer; {sys.executable} is {sys.version.split()[0]}"
        )
    if not PYTHON.exists():
        create()
    run(*installer(), "-e", f"{ROOT}[{extra}]")


def create() -> None:
    """Make .venv with this Python."""
    uv = shutil.which("uv")
    if uv is not None:
        run(uv, "venv", "--quiet", "--python", sys.executable, str(VENV))
        return
    done = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SystemExit(
            f"{sys.executable} cannot make a virtual environment: {done.stdout.strip()}\n"
            "Fix: install its venv module (on Debian and Ubuntu: apt install python3-venv), or install uv."
        )


def installer() -> list[str]:
    """The command that installs into .venv: uv's, or pip's."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(VENV / "bin"))
    if uv is None and quiet(str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"):
        uv = shutil.which("uv", path=str(VENV / "bin"))
    if uv is not None:
        # Without --reinstall-package, uv takes an editable build from its cache though the JavaScript has changed.
        return [uv, "pip", "install", "--python", str(PYTHON), "--reinstall-package", "shoal"]
    return [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]


def run(*command: str) -> None:
    """Run a command that must succeed."""
    sys.stderr.write("+ " + " ".join(command) + "\n")
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def quiet(*command: str) -> bool:
    """Whether a command succeeds; what it says is not shown."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main(sys.argv[1])
