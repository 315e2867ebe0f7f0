"""The build hook: JavaScript is built when a wheel (or an editable install) is made, if its sources changed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
BUILT = ROOT / "labextension" / "shoal_lab" / "labextension"
STAMP = BUILT / "sources.sha256"
TOOLS = ("node_modules/@jupyter/builder", "node_modules/esbuild")
INPUTS = (
    "package.json",
    "package-lock.json",
    "labextension/rspack.config.js",
    "labextension/src",
    "labextension/style",
    "labextension/schema",
)
NO_NPM = (
    "Shoal's JupyterLab panel must be built, and npm is not on the PATH. "
    "Fix: install Node.js 20 or newer (https://nodejs.org), or install a wheel of Shoal, which needs no Node.js."
)


class Hook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs npm where the built JavaScript is missing or older than its sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing, so that it goes into the wheel, and into the sdist too: that needs no npm then.

        Args:
            version: ``standard`` or ``editable``.
            build_data: hatchling's; left as it is.
        """
        build_javascript()


def build_javascript() -> None:
    """Bundle the panel and the widgets, unless they are built from these very sources.

    Raises:
        RuntimeError: they must be built and there is no npm.
    """
    digest = sources_digest()
    if STAMP.is_file() and STAMP.read_text() == digest:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(NO_NPM)
    if not all((ROOT / tool).is_dir() for tool in TOOLS):
        _npm(npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
    _npm(npm, "run", "build")
    STAMP.write_text(digest)


def sources_digest() -> str:
    """One digest over every file that goes into the bundles."""
    digest = hashlib.sha256()
    for name in INPUTS:
        path = ROOT / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0")
                digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()


def _npm(npm: str, *arguments: str) -> None:
    # What npm says is shown only when it fails: stdout belongs to the build frontend.
    done = subprocess.run([npm, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = "\n".join(done.stdout.decode(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"npm {' '.join(arguments)} failed (exit code {done.returncode}):\n{tail}")
