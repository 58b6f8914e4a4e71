# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Does odometry go on as it did, or has it been reset, or lost?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Odometry goes on as it did, but for this: distance, share of the last step, acceleration.
_JUMP_M, _JUMP_SHARE, _JUMP_M_S2 = 0.1, 0.5, 10.0
_FASTEST_M_S = 60.0


class Odometry:
    """Follows poses of a frame in one that does not move."""

    def __init__(self, T: Array) -> None:
        """Begin at a pose, 4x4."""
        self._last_m: Array = T[:3, 3]
        self._velocity_m_s: Array | None = None

    def jump(self, T: Array, elapsed_s: float) -> float:
        """Take the next pose.

        Args:
            T: 4x4.
            elapsed_s: since the last one, more than 0.

        Returns:
            By how many metres it is not where it is expected; 0 where that is no jump.
        """
        velocity_m_s = self._velocity_m_s
        step_m = T[:3, 3] - self._last_m
        expected_m, allowed_m = np.zeros(3), _FASTEST_M_S * elapsed_s
        if velocity_m_s is not None:
            expected_m = elapsed_s * velocity_m_s
            usual_m = float(np.linalg.norm(expected_m))
            allowed_m = _JUMP_M + _JUMP_SHARE * usual_m + 0.5 * _JUMP_M_S2 * elapsed_s**2
        off_m = float(np.linalg.norm(step_m - expected_m))
        if not off_m <= allowed_m:  # NaN fails too
            return off_m
        self._last_m, self._velocity_m_s = T[:3, 3], step_m / elapsed_s
        return 0.0
