"""``python -m pte_magic``: the command ``pte-magic``."""

from __future__ import annotations

import sys

from pte_magic.cli import main

if __name__ == "__main__":
    sys.exit(main())
