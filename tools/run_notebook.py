"""Runs a notebook from a terminal, as ``shoal run`` does. Run by ``make run NB=file.ipynb``."""

from __future__ import annotations

import sys

from shoal_kernel.programs.runs import main

if __name__ == "__main__":
    sys.exit(main())
