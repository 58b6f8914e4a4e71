# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Log lines in bounded number and of bounded length, whatever arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import threading
import time
from typing import Any

from depth_anything_ros.errors import one_line

FIRST_QUIET_S, LONGEST_QUIET_S = 5.0, 320.0  # between two lines of one kind


@dataclass
class _Kind:
    until_s: float = 0.0
    quiet_s: float = FIRST_QUIET_S
    left_out: int = 0


class QuietLog:
    """A log that says each kind of thing at once, and then ever more rarely while it goes on.

    The pause doubles from FIRST_QUIET_S to LONGEST_QUIET_S, and starts anew when nothing of the
    kind came during one.
    """

    def __init__(self, logger: Any, now_s: Callable[[], float] = time.monotonic) -> None:
        """Take rclpy's logger, and a clock."""
        self._logger = logger
        self._now_s = now_s
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}

    def info(self, kind: str, text: str) -> None:
        """Log a line, or count it."""
        if line := self._line(kind, text):
            self._logger.info(line)

    def warning(self, kind: str, text: str) -> None:
        """Log a warning, or count it."""
        if line := self._line(kind, text):
            self._logger.warning(line)

    def _line(self, kind: str, text: str) -> str:
        with self._lock:
            entry = self._kinds.setdefault(kind, _Kind())
            now_s = self._now_s()
            if now_s < entry.until_s:
                entry.left_out += 1
                return ''
            left_out, entry.left_out = entry.left_out, 0
            entry.quiet_s = (
                min(2 * entry.quiet_s, LONGEST_QUIET_S) if left_out else FIRST_QUIET_S
            )
            entry.until_s = now_s + entry.quiet_s
        again = f' (and {left_out} times more since it was last said)' if left_out else ''
        return one_line(text) + again
