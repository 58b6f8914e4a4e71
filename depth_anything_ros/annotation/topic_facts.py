# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the messages of a topic, live or in a bag, say about themselves: rates, gaps and clocks."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.bags import TYPES
from depth_anything_ros.ros.cdr import check_cdr, NANOSECONDS, stamp_of

_STAMPED = ('Image', 'CompressedImage', 'CameraInfo', 'PointCloud2', 'LaserScan', 'Range')
_GAP_PERIODS = 2.5  # times the usual time between two messages


@dataclass(frozen=True)
class TopicFacts:
    """What is seen of one topic.

    Attributes:
        topic: its name.
        kind: its type.
        messages: that were read.
        refused: of these, messages that are none of their type.
        rate_hz: one over the usual time between two stamps (of recording, where there are none);
            None under two messages.
        gaps: how often nothing came for more than 2.5 times as long.
        longest_gap_s: the longest time between two; None under two messages.
        back: how often a stamp was before the one recorded before it.
        doubled: how often it was the same.
        delay_s: recording or arrival minus stamp, the middle one; None where there are no stamps.
        frame_id: of the first message, empty where it has none.
    """

    topic: str
    kind: str
    messages: int
    refused: int
    rate_hz: float | None
    gaps: int
    longest_gap_s: float | None
    back: int
    doubled: int
    delay_s: float | None
    frame_id: str


class TopicWatch:
    """Messages of one topic, as they go by."""

    def __init__(self, topic: str, msgtype: str) -> None:
        """Expect messages on a topic, of a type such as sensor_msgs/msg/Image."""
        self.frame_id = ''
        self._topic, self._msgtype = topic, msgtype
        self._kind = msgtype.rpartition('/')[2]
        self._recorded_ns, self._stamps_ns = array('q'), array('q')
        self._refused = 0

    def add(self, time_ns: int, data: bytes) -> None:
        """Take in when a message came or was recorded, and the message in CDR."""
        if self._kind in _STAMPED:
            try:
                check_cdr(data, self._kind)
                self._stamps_ns.append(stamp_of(data))
            except BadFrameError:
                self._refused += 1
                return
            self.frame_id = self.frame_id or _frame_of(data)
        self._recorded_ns.append(time_ns)

    def facts(self) -> TopicFacts:
        """Return what was seen."""
        recorded = np.frombuffer(self._recorded_ns, np.int64)
        stamps = np.frombuffer(self._stamps_ns, np.int64)
        times = stamps if len(stamps) else recorded
        steps_s = np.diff(times) / NANOSECONDS
        forward = steps_s[steps_s > 0]
        period_s = float(np.median(forward)) if len(forward) else None
        delays_s = (recorded - stamps) / NANOSECONDS if len(stamps) else None
        return TopicFacts(
            self._topic,
            self._msgtype,
            len(recorded) + self._refused,
            self._refused,
            1 / period_s if period_s else None,
            int((forward > _GAP_PERIODS * period_s).sum()) if period_s else 0,
            float(forward.max()) if period_s else None,
            int((steps_s < 0).sum()),
            int((steps_s == 0).sum()),
            None if delays_s is None else float(np.median(delays_s)),
            self.frame_id,
        )


def transforms_of(data: bytes) -> list[Any]:
    """Return what a serialised TFMessage holds; one that is none is left to who asks for poses."""
    try:
        check_cdr(data, 'TFMessage')
    except BadFrameError:
        return []
    message: Any = TYPES.deserialize_cdr(data, 'tf2_msgs/msg/TFMessage')
    return list(message.transforms)


def _frame_of(data: bytes) -> str:
    """Return frame_id of a message that begins with a header, and has been checked."""
    size = int.from_bytes(data[12:16], 'little' if data[1] else 'big')
    return data[16 : 16 + max(0, size - 1)].decode()
