# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The sensors of a robot that all of its cameras share: lidar, laser scanner, rangefinder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from sensor_msgs.msg import LaserScan, PointCloud2, Range

from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.sources import takes
from depth_anything_ros.ros.messages import decode_points, decode_scan, deserialize
from depth_anything_ros.ros.ranges import decode_range, Echo
from depth_anything_ros.ros.stores import MOST_READINGS, OutOfTime, Read, ReadingStore


class Sink(Protocol):
    """Takes messages."""

    def add(self, data: bytes) -> None:
        """Take a serialised message.

        Raises:
            BadFrameError: it cannot be used.
        """


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        kind: message class.
        store: takes its serialised messages.
        depth: how many messages a subscription should queue.
        transport: image_transport's name of how images come, raw for all that are none.
    """

    kind: Any
    store: Sink
    depth: int
    transport: str = 'raw'


class Sensors:
    """The stores of what is measured beside all cameras.

    Attributes:
        inputs: name as in the contract (points, scan, range) -> input.
    """

    def __init__(self, config: Config, most: int = MOST_READINGS) -> None:
        """Know nothing yet.

        Args:
            config: the parameters.
            most: how many messages of a sensor are kept.
        """
        self.inputs: dict[str, Input] = {}
        self._points: list[ReadingStore[SensorPoints]] = []
        self._ranges: ReadingStore[Echo] | None = None
        limits, method = config.limits, config.scale.method
        memory_mib = limits.sensor_memory
        if takes(method, 'lidar'):
            for name, kind, decode in (
                ('points', PointCloud2, decode_points), ('scan', LaserScan, decode_scan)
            ):
                decoder = decoder_of(kind, partial(decode, limits=limits))
                points = ReadingStore(decoder, memory_mib, most=most)
                self._points.append(points)
                self.inputs[name] = Input(kind, points, 10)
        if takes(method, 'range'):
            decoder_of_range = decoder_of(Range, decode_range)
            self._ranges = ReadingStore(decoder_of_range, memory_mib, 'ranges', most)
            self.inputs['range'] = Input(Range, self._ranges, 10)

    def nearest_points(self, stamp_ns: int, max_offset_s: float) -> SensorPoints | None:
        """Return the points closest in time to an image; scan is asked where points has none.

        Returns:
            None where no points have come at all.

        Raises:
            OutOfTime: none are near enough.
            BadFrameError: the message cannot be decoded; it is forgotten.
        """
        # Not the errors: each would keep its frames alive, and image.
        out_of_time: list[tuple[str, str]] = []
        for store in self._points:
            try:
                points = store.nearest(stamp_ns, max_offset_s)
                if points is not None:
                    return points
            except OutOfTime as error:
                out_of_time.append((error.reason, str(error)))
        if out_of_time:
            raise OutOfTime(*out_of_time[0])
        return None

    def nearest_echo(self, stamp_ns: int, max_offset_s: float) -> Echo | None:
        """Return what a rangefinder said closest in time to an image, None where none has spoken.

        Raises:
            OutOfTime: it has not spoken near enough in time.
            BadFrameError: the message makes no sense.
        """
        return None if self._ranges is None else self._ranges.nearest(stamp_ns, max_offset_s)


def decoder_of(kind: Any, decode: Callable[[Any], Read]) -> Callable[[bytes], Read]:
    """Return what decodes a serialised message of some kind."""
    return lambda data: decode(deserialize(data, kind))
