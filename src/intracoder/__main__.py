"""``python -m intracoder`` is the same program as ``intracoder``."""

from __future__ import annotations

import sys

from intracoder.cli import main

if __name__ == "__main__":
    sys.exit(main())
