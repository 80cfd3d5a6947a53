"""``python -m prunelimit``."""

from __future__ import annotations

import sys

from prunelimit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
