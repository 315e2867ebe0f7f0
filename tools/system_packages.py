"""Installs what tests need from the operating system: Chromium and a font for the browser, Open MPI, and ip for networks.

It does so only as root and where there is apt; elsewhere it says what is missing, and those tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

WANTED = (
    (("chromium", "chromium-browser", "google-chrome"), ("chromium", "fonts-dejavu-core"), "the browser tests"),
    (("mpiexec",), ("openmpi-bin",), "the MPI tests"),
    (("ip",), ("iproute2",), "the tests of network faults"),
)
"""Programs of which one has to be there, the packages that bring it, and what needs it."""


def main() -> None:
    """Install what is missing."""
    missing = [entry for entry in WANTED if not any(shutil.which(program) for program in entry[0])]
    if not missing:
        return
    packages = [name for _, names, _ in missing for name in names]
    tests = " and ".join(needs for _, _, needs in missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.stderr.write(f"No {packages[0]}, and no right to install packages: {tests} will be skipped.\n")
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        sys.stderr.write("+ apt-get " + " ".join(arguments) + "\n")
        if subprocess.run(["apt-get", *arguments], env=environment, check=False).returncode:
            sys.stderr.write(f"apt-get failed: {tests} will be skipped.\n")
            return


if __name__ == "__main__":
    main()
