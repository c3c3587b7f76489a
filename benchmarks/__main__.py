"""``python -m benchmarks [NAME ...]``: run the named benchmarks, or all; ``NAMES`` has them."""

from __future__ import annotations

import importlib
import os
import platform
import sys

NAMES = ("start", "ops", "roundtrip", "wire", "programs", "runs", "isolation", "durability", "load", "compiled", "engine")


def main(arguments: list[str]) -> int:
    """Run them in turn."""
    unknown = [a for a in arguments if a not in NAMES]
    if unknown:
        print(f"unknown benchmark(s); choose from: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; ratios are medians of interleaved pairs")
    for name in arguments or NAMES:
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
