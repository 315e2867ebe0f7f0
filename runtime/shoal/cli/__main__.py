"""``python -m shoal.cli``: the command line without its script."""

import sys

from shoal.cli import main

sys.exit(main())
