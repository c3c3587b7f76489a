"""The version, once: the wheel, `telegrad.__version__` and the service's OpenAPI document read it here."""

from __future__ import annotations

__version__ = "0.1.0"
