# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""At most so many per second of image time."""

from __future__ import annotations

_NS = 1e9


class RateCap:
    """Picks images from a stream so that their mean rate is at most a given one."""

    def __init__(self) -> None:
        """Take the next image, whenever it is."""
        self._next_ns = self._last_ns = 0

    def due(self, stamp_ns: int, rate_hz: float) -> bool:
        """Tell whether an image's turn has come, and if so, count it.

        Turns are a period apart, and an image has the turn that it is nearer to than the next image
        will be, so that the mean rate is right at any rate of the camera. Where stamps go back, or
        nothing came for a while, turns begin anew.

        Args:
            stamp_ns: of the image in nanoseconds.
            rate_hz: 0 takes every image.
        """
        if rate_hz <= 0:
            return True
        period_ns = int(_NS / rate_hz)
        since_ns, self._last_ns = stamp_ns - self._last_ns, stamp_ns
        early_ns = min(since_ns, period_ns) // 2
        if since_ns >= 0 and stamp_ns < self._next_ns - early_ns:
            return False
        anew = since_ns < 0 or stamp_ns >= self._next_ns + period_ns
        self._next_ns = (stamp_ns if anew else self._next_ns) + period_ns
        return True
