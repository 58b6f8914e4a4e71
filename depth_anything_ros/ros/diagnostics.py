# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Counts and timings of the node, told once a second on /diagnostics.

Frequency and stamps are told as diagnostic_updater's FrequencyStatus and TimeStampStatus tell them
(its _update_functions.py: keys, first sentence, window of five reports), which rqt and aggregators
know; diagnostic_updater itself is on ROS machines only. Unlike there a level is a call for a hand:
it is OK to be idle, or slower than the camera.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
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
WINDOW = 5  # reports over which the frequency is told
TOLERANCE = 0.1  # share of the images that may give nothing

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass
class _Second:
    """What happened since the last status."""

    since_s: float
    received: int = 0
    unwanted: int = 0
    published: int = 0
    zero_stamps: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    delays_ms: list[float] = field(default_factory=list)
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
        self._frames = self._early = self._zero = 0
        self._fit: ScaleFit | None = None
        self._newest_ns: int | None = None
        self._second = _Second(time.monotonic())
        self._window: deque[_Second] = deque(maxlen=WINDOW)

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
            self._second.published += 1
            if stamp_ns:
                self._second.delays_ms.append((now_ns - stamp_ns) / 1e6)
            else:
                self._second.zero_stamps += 1
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
        now_s = time.monotonic()
        with self._lock:
            second, self._second = self._second, _Second(now_s)
            self._window.append(second)
            dropped, incomplete = sorted(self._dropped.items()), sorted(self._incomplete.items())
            why, frames, fit, newest_ns = dict(self._why), self._frames, self._fit, self._newest_ns
        age_s = None if newest_ns is None else (now_ns - newest_ns) / 1e9
        values = {
            'device': str(self._device),
            'received_since_last_report': str(second.received),
            'scale_state': fit.state.value if fit else 'none',
            'age_of_newest_output_s': 'none' if age_s is None else f'{max(age_s, 0.0):.3f}',
            **{f'publishers_{name}': str(count) for name, count in publishers.items()},
        }
        if second.delays_ms and (latency_ms := median(second.delays_ms)) >= 0:
            values['latency_ms'] = f'{latency_ms:.1f}'
        if age_s is not None and age_s < 0:
            values['stamps_ahead_s'] = f'{-age_s:.3f}'
        values |= {f'stage_{s}_ms': f'{median(d):.2f}' for s, d in second.stages_ms.items()}
        values |= {f'dropped_{reason}': str(count) for reason, count in dropped}
        values |= {f'incomplete_{reason}': str(count) for reason, count in incomplete}
        if self._device.type == 'cuda':
            memory_mib = torch.cuda.memory_allocated(self._device) / 2**20
            values['device_memory_mib'] = f'{memory_mib:.0f}'

        events, faults, frequency = self._frequency(now_s, frames, why)
        values |= frequency | self._stamps(second)
        why_not = Counter({reason: n for reason, n in second.drops.items() if why[reason]})
        level, message = OK, 'Desired frequency met'
        if busy_s > STALLED_S:
            level, message = ERROR, f'at one image for {busy_s:.0f} s: network or publication hangs'
        elif now_ns == 0:
            level, message = WARN, 'use_sim_time is set, but no time comes on /clock'
        elif not busy_s and not any(each.received for each in self._window):
            level, message = WARN, self._no_image(publishers)
        elif second.unwanted:
            message = 'idle: nobody subscribes to an output'
        elif not second.published and why_not:
            reason, _ = why_not.most_common(1)[0]
            level, message = WARN, f'no output: {why[reason]}'
        elif not second.published:
            waits = not second.received and not busy_s
            message = 'between two images' if waits else 'at work on an image'
        elif second.zero_stamps:
            level = WARN
            message = 'Zero timestamp seen. The driver must stamp its images: TF needs their time'
        elif age_s is not None and age_s < -AHEAD_S:
            level = WARN
            message = (
                f'Timestamps too far in future seen. They are {-age_s:.1f} s ahead of the clock '
                'here: synchronise the clocks'
            )
        elif faults.total() > TOLERANCE * (events + faults.total()):
            reason, _ = faults.most_common(1)[0]
            level = WARN
            message = (
                f'Frequency too low. {faults.total()} of {events + faults.total()} images gave '
                f'nothing: {why[reason]}'
            )
        elif fit is not None and fit.state is State.UNANCHORED:
            level, message = WARN, f'no metres: {fit.reason}'
        return DiagnosticStatus(
            level=level,
            name=f'{self._name}: pipeline',
            message=one_line(message),
            hardware_id=self._image_topic,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _frequency(
        self, now_s: float, frames: int, why: Mapping[str, str]
    ) -> tuple[int, Counter[str], dict[str, str]]:
        """Return frames and faults by reason in the window, and what FrequencyStatus tells.

        Of the images that were looked at each should give a frame; those that a newer one
        superseded were not, nor was any while nobody listened.
        """
        window_s = max(now_s - self._window[0].since_s, 1e-9)
        events = sum(second.published for second in self._window)
        drops: Counter[str] = sum((second.drops for second in self._window), Counter())
        faults = Counter({reason: n for reason, n in drops.items() if why[reason]})
        least_hz = (1 - TOLERANCE) * (events + faults.total()) / window_s
        return events, faults, {
            'Events in window': str(events),
            'Events since startup': str(frames),
            'Duration of window (s)': f'{window_s:f}',
            'Actual frequency (Hz)': f'{events / window_s:f}',
            'Minimum acceptable frequency (Hz)': f'{least_hz:f}',
        }

    def _stamps(self, second: _Second) -> dict[str, str]:
        """Return what TimeStampStatus tells; a delay may be as long as it likes (old bags)."""
        delays_s = [delay_ms / 1e3 for delay_ms in second.delays_ms]
        self._early += min(delays_s, default=0.0) < -AHEAD_S
        self._zero += second.zero_stamps > 0
        return {
            'Earliest timestamp delay:': f'{min(delays_s, default=0.0):f}',
            'Latest timestamp delay:': f'{max(delays_s, default=0.0):f}',
            'Earliest acceptable timestamp delay:': f'{-AHEAD_S:f}',
            'Early diagnostic update count:': str(self._early),
            'Zero seen diagnostic update count:': str(self._zero),
        }

    def _no_image(self, publishers: Mapping[str, int]) -> str:
        count = publishers.get(self._image, 0)
        if not count:
            return f'no image, no publisher on {self._image_topic}: start the camera or remap image'
        return (
            f'no image comes, although {count} publisher(s) on {self._image_topic} '
            'match: has the camera stopped, or does the transport lose large messages?'
        )
