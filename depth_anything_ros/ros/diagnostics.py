# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Counts and timings of the node, told once a second on /diagnostics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
import threading
import time

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
import torch

from depth_anything_ros.errors import one_line
from depth_anything_ros.metric_depth.scale import ScaleFit, State
from depth_anything_ros.pipeline import DepthFrame

STALLED_S = 10.0  # at one image: longer than any network here takes
AHEAD_S = 1.0  # of the clock: more than clocks differ that are kept in step

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass
class _Second:
    """What happened since the last status."""

    since_s: float = field(default_factory=time.monotonic)
    received: int = 0
    unwanted: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    stages_ms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class Statistics:
    """What the node did with one camera; written by its threads, read once a second."""

    def __init__(
        self, name: str, image_topic: str, device: torch.device, image: str = 'image'
    ) -> None:
        """Start from zero.

        Args:
            name: the node's with its namespace, and the camera's, so that two are told apart.
            image_topic: the topic of the images, resolved: whose pipeline this is.
            device: where the network runs.
            image: name of the input that the images come on.
        """
        self._name, self._image_topic, self._device = name, image_topic, device
        self._image = image
        self._lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._incomplete: Counter[str] = Counter()
        self._why: dict[str, str] = {}
        self._frames = 0
        self._fit: ScaleFit | None = None
        self._newest_ns: int | None = None
        self._second = _Second()

    def received(self) -> None:
        """Count an image that arrived."""
        with self._lock:
            self._second.received += 1

    def unwanted(self) -> None:
        """Count an image that was not looked at, since nobody subscribes to an output."""
        with self._lock:
            self._second.unwanted += 1

    def dropped(self, reason: str, why: str = '') -> None:
        """Count an image that gave no output; the last line that says why is kept."""
        with self._lock:
            self._dropped[reason] += 1
            self._second.drops[reason] += 1
            self._why[reason] = why

    def incomplete(self, reason: str) -> None:
        """Count a frame that was made without something, for a reason."""
        with self._lock:
            self._incomplete[reason] += 1

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
            self._second.latencies_ms.append((now_ns - stamp_ns) / 1e6)
            for stage, duration_ms in frame.timings_ms.items():
                self._second.stages_ms[stage].append(duration_ms)

    def status(
        self, now_ns: int, publishers: Mapping[str, int], busy_s: float = 0.0
    ) -> DiagnosticStatus:
        """Return the state since the last status; timings are medians over that time.

        Args:
            now_ns: ROS time.
            publishers: input -> how many publishers match the node's subscription.
            busy_s: how long a thread has been at an image of this camera, or hangs at any.
        """
        with self._lock:
            second, self._second = self._second, _Second()
            dropped, incomplete = sorted(self._dropped.items()), sorted(self._incomplete.items())
            why, frames, fit, newest_ns = dict(self._why), self._frames, self._fit, self._newest_ns
        elapsed_s = max(time.monotonic() - second.since_s, 1e-9)
        age_s = None if newest_ns is None else (now_ns - newest_ns) / 1e9
        values = {
            'device': str(self._device),
            'frames': str(frames),
            'received': str(second.received),
            'rate_hz': f'{len(second.latencies_ms) / elapsed_s:.2f}',
            'scale_state': fit.state.value if fit else 'none',
            'age_of_newest_output_s': 'none' if age_s is None else f'{max(age_s, 0.0):.3f}',
            **{f'publishers_{name}': str(count) for name, count in publishers.items()},
        }
        if second.latencies_ms and (latency_ms := median(second.latencies_ms)) >= 0:
            values['latency_ms'] = f'{latency_ms:.1f}'
        if age_s is not None and age_s < 0:
            values['stamps_ahead_s'] = f'{-age_s:.3f}'
        values |= {f'stage_{s}_ms': f'{median(d):.2f}' for s, d in second.stages_ms.items()}
        values |= {f'dropped_{reason}': str(count) for reason, count in dropped}
        values |= {f'incomplete_{reason}': str(count) for reason, count in incomplete}
        if self._device.type == 'cuda':
            memory_mib = torch.cuda.memory_allocated(self._device) / 2**20
            values['device_memory_mib'] = f'{memory_mib:.0f}'

        why_not = Counter({reason: n for reason, n in second.drops.items() if why[reason]})
        level, message = OK, 'publishing'
        if busy_s > STALLED_S:
            level, message = ERROR, f'at one image for {busy_s:.0f} s: network or publication hangs'
        elif now_ns == 0:
            level, message = WARN, 'use_sim_time is set, but no time comes on /clock'
        elif not second.received and not busy_s:
            level, message = WARN, self._no_image(publishers)
        elif second.unwanted:
            message = 'idle: nobody subscribes to an output'
        elif not second.latencies_ms and why_not:
            reason, _ = why_not.most_common(1)[0]
            level, message = WARN, f'no output: {why[reason]}'
        elif not second.latencies_ms:
            message = 'at work on an image'
        elif age_s is not None and age_s < -AHEAD_S:
            level = WARN
            message = f'stamps are {-age_s:.1f} s ahead of the clock here: synchronise the clocks'
        elif fit is not None and fit.state is State.UNANCHORED:
            level, message = WARN, f'no metres: {fit.reason}'
        return DiagnosticStatus(
            level=level,
            name=f'{self._name}: pipeline',
            message=one_line(message),
            hardware_id=self._image_topic,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _no_image(self, publishers: Mapping[str, int]) -> str:
        count = publishers.get(self._image, 0)
        if not count:
            return f'no image, no publisher on {self._image_topic}: start the camera or remap image'
        return (
            f'no image in the last second, although {count} publisher(s) on {self._image_topic} '
            'match: has the camera stopped, or does the transport lose large messages?'
        )
