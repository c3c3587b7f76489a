"""How the log looks, in the server's process and in those of its sessions: lines for people, or JSON objects, on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Final, NamedTuple

EXTRA: Final = "telegrad"
"""Where a log record keeps its fields."""


class Log(NamedTuple):
    """What a process logs. Plain data, which another process can be given.

    Attributes:
        level: the least that is logged: critical, error, warning, info or debug.
        style: text or json.
    """

    level: str
    style: str

    def install(self) -> None:
        """Log so from now on, in this process and those that are forked from it."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter() if self.style == "json" else TextFormatter())
        logging.basicConfig(level=self.level.upper(), handlers=[handler])


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, EXTRA, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A log record as a line for people; fields that it has follow the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        fields = getattr(record, EXTRA, {})
        told = " ".join(f"{k}={v}" for k, v in fields.items() if k not in ("method", "route", "status", "seconds"))
        return super().format(record) + (f" {told}" if told else "")
