"""``python -m chatstore``: the command line."""

from __future__ import annotations

import sys

from chatstore.cli import main

sys.exit(main())
