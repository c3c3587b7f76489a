"""``python -m benchmarks.engine [WORKLOAD ...] [--seconds N]``; see ``table``."""

from __future__ import annotations

import sys

from benchmarks.engine.table import main

sys.exit(main(sys.argv[1:]))
