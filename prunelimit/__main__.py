"""``python -m prunelimit``."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Python searches the current folder first, and files there may be called like packages.
    try:
        here = os.getcwd()  # noqa: PTH109 (pathlib may be such a file)
    except OSError:  # the current folder is gone
        here = ""
    if sys.path and sys.path[0] in ("", here):
        del sys.path[0]

    from prunelimit.cli.main import main

    sys.exit(main())
