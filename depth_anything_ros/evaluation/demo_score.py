# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score what the node publishes while it publishes it: rate, latency, states, error."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.evaluation.metrics import abs_rel, coverage, delta

MIN_DEPTH_M, MAX_DEPTH_M = 0.3, 80.0
_KEPT = 50  # planes that wait for their partner of the same stamp

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class FrameScore:
    """Scores of one depth image.

    Attributes:
        abs_rel: mean |z* - z| / z over the scored pixels.
        delta1: share of them with max(z*/z, z/z*) < 1.25.
        coverage: share of the pixels with a true depth in range that have a published one.
    """

    abs_rel: float
    delta1: float
    coverage: float


def score(depth_m: Plane, truth_m: Plane) -> FrameScore:
    """Compare a published depth image with the truth.

    Args:
        depth_m: HxW metres, NaN where nothing was published.
        truth_m: HxW metres, NaN or infinite for sky; scored from 0.3 to 80 m.
    """
    in_range = (truth_m >= MIN_DEPTH_M) & (truth_m <= MAX_DEPTH_M)
    truth_m = np.where(in_range, truth_m, np.nan)
    return FrameScore(
        abs_rel(depth_m, truth_m), delta(depth_m, truth_m), coverage(depth_m, truth_m)
    )


class DemoScore:
    """Collects depth, truth and states as they arrive.

    Attributes:
        frames: number of metric depth images.
        received_ns: when each of them arrived.
        latencies_ms: arrival minus stamp of each.
        scores: of those for which the truth is known.
        states: scale state -> number of frames.
        reason: why the latest frame has the state that it has.
    """

    def __init__(self) -> None:
        self.received_ns: list[int] = []
        self.latencies_ms: list[float] = []
        self.scores: list[FrameScore] = []
        self.states: Counter[str] = Counter()
        self.state = self.reason = ''
        self._depths: dict[int, Plane] = {}
        self._truths: dict[int, Plane] = {}

    @property
    def frames(self) -> int:
        """Number of metric depth images so far."""
        return len(self.received_ns)

    def add_depth(self, depth_m: Plane, stamp_ns: int, received_ns: int) -> None:
        """Take a published depth image, HxW metres, and when it arrived (system time)."""
        self.received_ns.append(received_ns)
        self.latencies_ms.append((received_ns - stamp_ns) / 1e6)
        self._match(self._depths, stamp_ns, depth_m)

    def add_truth(self, truth_m: Plane, stamp_ns: int) -> None:
        """Take the true depth of the image of that stamp, HxW metres."""
        self._match(self._truths, stamp_ns, truth_m)

    def add_state(self, state: str, reason: str) -> None:
        """Take the state of one frame's scale."""
        self.states[state] += 1
        self.state, self.reason = state, reason

    def rate_hz(self, last: int = 0) -> float:
        """Return metric images per second, over all of them or the last so many."""
        times_ns = self.received_ns[-last:]
        if len(times_ns) < 2 or times_ns[-1] <= times_ns[0]:
            return 0.0
        return (len(times_ns) - 1) * 1e9 / (times_ns[-1] - times_ns[0])

    def summary(self) -> dict[str, Any]:
        """Return the numbers of summary.json; error scores only where a truth was published."""
        found: dict[str, Any] = {'frames': self.frames, 'rate_hz': round(self.rate_hz(), 3)}
        if self.frames:
            p50, p99 = np.percentile(self.latencies_ms, [50, 99])
            found |= {'latency_ms_p50': round(p50, 2), 'latency_ms_p99': round(p99, 2)}
        if self.scores:
            found['frames_scored'] = len(self.scores)
            for name in ('abs_rel', 'delta1', 'coverage'):
                values = [getattr(frame, name) for frame in self.scores]
                found[name] = round(float(np.mean(values)), 5)
        return found | {'states': dict(self.states)}

    def _match(self, planes: dict[int, Plane], stamp_ns: int, plane: Plane) -> None:
        planes[stamp_ns] = plane
        if stamp_ns in self._depths and stamp_ns in self._truths:
            depth_m, truth_m = self._depths.pop(stamp_ns), self._truths.pop(stamp_ns)
            self.scores.append(score(depth_m, truth_m))
        elif len(planes) > _KEPT:
            del planes[next(iter(planes))]
