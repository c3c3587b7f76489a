"""Whose line it was: the innermost frame outside telegrad."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

_OURS: Final = str(Path(__file__).parent) + os.sep
known_files: dict[str, bool] = {}
"""Which source files are telegrad's own, so that errors name the line of the user's file that called it."""


def users_frame(frame: FrameType) -> FrameType:
    """The innermost frame outside telegrad, from ``frame`` on."""
    while True:
        filename = frame.f_code.co_filename
        ours = known_files.get(filename)
        if ours is None:
            ours = known_files[filename] = filename.startswith(_OURS)
        outer = frame.f_back
        if not ours or outer is None:
            return frame
        frame = outer


def users_place(depth: int) -> tuple[CodeType, int]:
    """Code object and instruction of the user's call; the line is worked out only when an error needs it."""
    frame = users_frame(sys._getframe(depth))
    return frame.f_code, frame.f_lasti
