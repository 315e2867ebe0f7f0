"""Installs what the browser tests need from the operating system: Chromium and a font.

It does so only as root and where there is apt; elsewhere it says what is missing, and those tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-dejavu-core")


def main() -> None:
    """Install the packages, unless a browser is there."""
    if any(shutil.which(browser) for browser in BROWSERS):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.stderr.write("No Chromium, and no right to install it: the browser tests will be skipped.\n")
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *PACKAGES]):
        sys.stderr.write("+ apt-get " + " ".join(arguments) + "\n")
        if subprocess.run(["apt-get", *arguments], env=environment, check=False).returncode:
            sys.stderr.write("apt-get failed: the browser tests will be skipped.\n")
            return


if __name__ == "__main__":
    main()
