# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Counts and timings of the node, told once a second on /diagnostics."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
import threading
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import torch

from depth_anything_ros.metric_depth.scale import ScaleFit, State
from depth_anything_ros.pipeline import DepthFrame


class Statistics:
    """What the worker did; written by its thread, read by the diagnostics timer."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._drops: Counter[str] = Counter()
        self._received = self._frames = 0
        self._fit: ScaleFit | None = None
        self._stages_ms: defaultdict[str, list[float]] = defaultdict(list)
        self._latencies_ms: list[float] = []
        self._newest_ns: int | None = None
        self._last_report = time.monotonic()

    def received(self) -> None:
        """Count an image that arrived."""
        with self._lock:
            self._received += 1

    def dropped(self, reason: str) -> None:
        """Count an image that gave no output."""
        with self._lock:
            self._drops[reason] += 1

    def published(self, frame: DepthFrame, stamp_ns: int, now_ns: int) -> None:
        """Count a frame.

        Args:
            frame: what was published.
            stamp_ns: stamp of its image.
            now_ns: ROS time right after publication.
        """
        with self._lock:
            self._frames += 1
            self._fit = frame.fit
            self._newest_ns = stamp_ns
            self._latencies_ms.append((now_ns - stamp_ns) / 1e6)
            for stage, duration_ms in frame.timings_ms.items():
                self._stages_ms[stage].append(duration_ms)

    def report(
        self, node_name: str, now_ns: int, publishers: dict[str, int]
    ) -> DiagnosticArray:
        """Return the state since the last report; timings are medians over that time.

        Args:
            node_name: whose status it is.
            now_ns: ROS time.
            publishers: input -> how many publishers its subscription has matched.
        """
        with self._lock:
            now = time.monotonic()
            elapsed_s, self._last_report = now - self._last_report, now
            latencies_ms, stages_ms = self._latencies_ms, self._stages_ms
            self._latencies_ms, self._stages_ms = [], defaultdict(list)
            drops, frames = dict(self._drops), self._frames
            received, self._received = self._received, 0
            fit, newest_ns = self._fit, self._newest_ns
        values = {
            'device': str(self._device),
            'frames': str(frames),
            'received': str(received),
            'rate_hz': f'{len(latencies_ms) / max(elapsed_s, 1e-9):.2f}',
            'scale_state': fit.state.value if fit else 'none',
            'age_of_newest_output_s': (
                'none' if newest_ns is None else f'{(now_ns - newest_ns) / 1e9:.3f}'
            ),
        }
        values |= {f'publishers_{name}': str(count) for name, count in publishers.items()}
        if latencies_ms:
            values['latency_ms'] = f'{median(latencies_ms):.1f}'
        values |= {f'stage_{s}_ms': f'{median(d):.2f}' for s, d in stages_ms.items()}
        values |= {f'dropped_{reason}': str(count) for reason, count in sorted(drops.items())}
        if self._device.type == 'cuda':
            memory_mib = torch.cuda.memory_allocated(self._device) / 2**20
            values['device_memory_mib'] = f'{memory_mib:.0f}'
        level, message = DiagnosticStatus.OK, 'publishing'
        if not received:
            level, message = DiagnosticStatus.WARN, 'no image in the last second'
        elif not latencies_ms:
            message = 'images arrive but nothing is published: no subscriber, or all dropped'
            level = DiagnosticStatus.WARN
        elif fit is not None and fit.state is State.UNANCHORED:
            level, message = DiagnosticStatus.WARN, f'no metres: {fit.reason}'
        status = DiagnosticStatus(
            level=level,
            name=f'{node_name}: pipeline',
            message=message,
            hardware_id=str(self._device),
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp.sec, array.header.stamp.nanosec = divmod(now_ns, 1_000_000_000)
        return array
