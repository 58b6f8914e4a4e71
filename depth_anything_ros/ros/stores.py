# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What has arrived beside the image, serialised until an image asks for it: cameras, readings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from statistics import median
import threading
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.messages import (
    decode_camera,
    deserialize,
    NANOSECONDS,
    serialized_stamp_ns,
)

CAMERA_WAIT_S = 0.02  # for the camera_info of an image that has overtaken it
CAMERA_BYTES = 1 << 16  # a hundred times what a camera_info needs
MOST_READINGS = 20  # that are kept of a sensor; a recording, which is read ahead, keeps more
Entry = tuple[int, bytes]  # stamp in nanoseconds, message in CDR
LONGEST_SWEEP_S = 0.2  # of a lidar that turns five times a second; messages farther apart are shots


class OutOfTime(BadFrameError):
    """A sensor has spoken, but not near enough in time to the image."""


class CameraStore:
    """The camera of an image: the info of the same stamp, else the latest.

    Attributes:
        on_first: called when the first message has been kept.
    """

    def __init__(self, rectified: bool, topic: str = 'camera_info') -> None:
        """Keep nothing yet.

        Args:
            rectified: whether the images have been rectified already.
            topic: what the infos come on, for what is said of them.
        """
        self._rectified, self._topic = rectified, topic
        self._changed = threading.Condition()
        self._messages: dict[int, bytes] = {}  # by stamp, in the order of arrival
        self._asked_ns: int | None = None
        self._in_step = False  # whether an info of exactly the image's stamp can be expected
        self._key: bytes = b''
        self._camera: Camera | None = None
        self.on_first: Callable[[], None] = lambda: None

    def add(self, data: bytes) -> None:
        """Keep a serialised CameraInfo.

        Raises:
            BadFrameError: the message has no stamp, or is far too long.
        """
        stamp_ns = serialized_stamp_ns(data)
        if len(data) > CAMERA_BYTES:
            raise BadFrameError(
                'camera_info_too_large', f'a camera_info of {len(data)} bytes describes no camera'
            )
        with self._changed:
            first = not self._messages
            self._messages.pop(stamp_ns, None)
            self._messages[stamp_ns] = data
            if len(self._messages) > 5:
                del self._messages[next(iter(self._messages))]
            self._in_step |= stamp_ns == self._asked_ns
            self._changed.notify()
        if first:
            self.on_first()

    def for_image(self, image: NDArray[Any], stamp_ns: int) -> Camera:
        """Return the camera; the same object as long as nothing in the messages changes.

        Where infos come with exactly the stamps of the images, an info that the image has overtaken
        is waited for: the latest one may be of another zoom.

        Args:
            image: HxW or HxWx3, the image that it is to describe.
            stamp_ns: time of the image in nanoseconds.

        Raises:
            BadFrameError: there is no message yet, or it describes no usable camera, or another
                image; one that cannot be decoded is forgotten.
        """
        camera = self._decoded(self._message_for(stamp_ns))
        if camera.size != image.shape[:2]:
            raise BadFrameError(
                'camera_info_mismatch',
                f'image is {image.shape[1]}x{image.shape[0]} but {self._topic} describes '
                f'{camera.width}x{camera.height} (after ROI and binning): publish the '
                'camera_info of this stream',
            )
        return camera

    def newest(self) -> Camera:
        """Return the camera of the newest message, of which there must be one.

        Raises:
            BadFrameError: it describes no usable camera.
        """
        with self._changed:
            data = next(reversed(self._messages.values()))
        return self._decoded(data)

    def _decoded(self, data: bytes) -> Camera:
        try:
            message = deserialize(data, CameraInfo)
        except BadFrameError:
            with self._changed:
                self._messages = {s: d for s, d in self._messages.items() if d is not data}
            raise
        roi = message.roi
        sizes = (message.height, message.width, message.binning_x, message.binning_y)
        window = (roi.x_offset, roi.y_offset, roi.height, roi.width)
        numbers = np.concatenate([sizes, window, message.k, message.d, message.r, message.p])
        key = numbers.tobytes() + message.distortion_model.encode()
        if self._camera is None or key != self._key:
            self._camera, self._key = decode_camera(message, self._rectified), key
        return self._camera

    def _message_for(self, stamp_ns: int) -> bytes:
        with self._changed:
            if self._in_step and max(self._messages, default=0) < stamp_ns:
                self._changed.wait_for(lambda: stamp_ns in self._messages, CAMERA_WAIT_S)
            # Once in vain is enough, until the one that was missed comes after all.
            self._in_step = stamp_ns in self._messages
            self._asked_ns = stamp_ns
            if not self._messages:
                raise BadFrameError(
                    'no_camera_info',
                    f'images arrive but no {self._topic}: remap {self._topic} to the topic beside '
                    'the image',
                )
            return self._messages.get(stamp_ns, list(self._messages.values())[-1])


class Reading(Protocol):
    """What a sensor said, decoded."""

    @property
    def frame_id(self) -> str:
        """Name of the sensor's frame."""

    @property
    def sweep_s(self) -> tuple[float, float] | None:
        """When it begins and ends, in seconds after its stamp; None where it does not say."""


Read = TypeVar('Read', bound=Reading)


class MessageStore:
    """The last few messages of one sensor, serialised."""

    def __init__(self, memory_mib: int, what: str, most: int = MOST_READINGS) -> None:
        """Keep nothing yet.

        Args:
            memory_mib: what the messages may take together.
            what: they are called.
            most: how many are kept.
        """
        self._memory_mib, self._what, self._most = memory_mib, what, most
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque()
        self._held_ns: dict[str, int] = {}  # by camera

    def add(self, data: bytes) -> None:
        """Keep a serialised message, and drop the oldest of what is too much with it.

        Raises:
            BadFrameError: the message has no stamp, or is too large by itself.
        """
        stamp_ns, most = serialized_stamp_ns(data), self._memory_mib << 20
        if len(data) > most:
            raise BadFrameError(
                f'{self._what}_too_large',
                f'{self._what} of {len(data) / (1 << 20):.0f} MiB exceed limits.sensor_memory '
                f'({self._memory_mib} MiB): raise it, or have the sensor send less',
            )
        with self._lock:
            self._entries.append((stamp_ns, data))
            while len(self._entries) > self._most or sum(len(d) for _, d in self._entries) > most:
                del self._entries[self._least_needed()]

    def hold(self, stamp_ns: int, camera: str = '') -> None:
        """Keep what is nearest to an image until the camera's next one, however long that takes."""
        with self._lock:
            self._held_ns[camera] = stamp_ns

    def clear(self) -> None:
        """Forget all: time has jumped back."""
        with self._lock:
            self._entries.clear()
            self._held_ns.clear()

    def _least_needed(self) -> int:
        """Return which entry goes first: the oldest that is not held, and never the newest."""
        entries = list(self._entries)
        if len(entries) < 3:
            return 0
        held = [nearest_entry(reversed(entries), held_ns) for held_ns in self._held_ns.values()]
        free = (i for i, each in enumerate(entries[:-1]) if not any(each is h for h in held))
        return next(free, 0)

    def _kept(self) -> list[Entry]:
        """Return what is there, the newest first: of two with one stamp that is the better."""
        with self._lock:
            return list(reversed(self._entries))


def nearest_entry(entries: Iterable[Entry], stamp_ns: int) -> Entry:
    """Return the message whose stamp is closest to a time; of several the first."""
    return min(entries, key=lambda entry: abs(entry[0] - stamp_ns))


class ReadingStore(MessageStore, Generic[Read]):
    """The last few messages of one sensor, decoded when an image asks for them."""

    def __init__(
        self,
        decode: Callable[[bytes], Read],
        memory_mib: int,
        what: str = 'points',
        most: int = MOST_READINGS,
    ) -> None:
        """Keep nothing yet.

        Args:
            decode: takes a serialised message apart.
            memory_mib: what the messages may take together.
            what: they are called.
            most: how many are kept.
        """
        super().__init__(memory_mib, what, most)
        self._decode = decode
        # Cameras that share a sensor are not all at one time: some are nearer to the next sweep.
        self._decoded: deque[tuple[bytes, Read]] = deque(maxlen=2)
        self._sweep_s: tuple[float, float] | None = None

    def nearest(self, stamp_ns: int, max_offset_s: float) -> Read | None:
        """Return the reading closest in time to an image, or None where none have come.

        The time between a sweep and an image is zero where the image was taken during the sweep.
        How long a sweep lasts is told by the times of its points. Without those it lasts about as
        long as the next one takes to come, before or after its stamp: drivers differ.

        Raises:
            OutOfTime: the closest is too far away.
            BadFrameError: the message cannot be decoded; it is forgotten.
        """
        entries = self._kept()
        if not entries:
            return None
        period_s = _period_s([when_ns for when_ns, _ in reversed(entries)])
        sweep_s = self._sweep_s or (-period_s, period_s)

        def distance_s(entry: Entry) -> tuple[float, float]:
            since_s = (stamp_ns - entry[0]) / NANOSECONDS
            return abs(_outside(since_s, sweep_s)), abs(since_s - sum(sweep_s) / 2)

        when_ns, data = entry = min(entries, key=distance_s)
        reading = next((reading for known, reading in self._decoded if known is data), None)
        if reading is None:
            try:
                reading = self._decode(data)
            except BadFrameError:
                with self._lock:
                    if entry in self._entries:
                        self._entries.remove(entry)
                raise
            self._decoded.append((data, reading))
        self._sweep_s = reading.sweep_s
        offset_s = _outside(
            (stamp_ns - when_ns) / NANOSECONDS, self._sweep_s or (-period_s, period_s)
        )
        if abs(offset_s) > max_offset_s:
            raise OutOfTime(
                f'{self._what}_out_of_time',
                _out_of_time(f'{self._what} ({reading.frame_id})', offset_s, max_offset_s),
            )
        return reading


def _period_s(stamps_ns: list[int]) -> float:
    """Return the usual time between messages; 0 where it is too long for sweep after sweep."""
    steps_ns = [b - a for a, b in zip(stamps_ns, stamps_ns[1:]) if b > a]
    period_s = median(steps_ns) / NANOSECONDS if steps_ns else 0.0
    return period_s if period_s <= LONGEST_SWEEP_S else 0.0


def _outside(time_s: float, interval_s: tuple[float, float]) -> float:
    """Return how far a time lies behind (positive) or before (negative) an interval, 0 within."""
    return time_s - min(max(time_s, interval_s[0]), interval_s[1])


def _out_of_time(nearest: str, offset_s: float, max_offset_s: float) -> str:
    side = 'older' if offset_s > 0 else 'newer'
    what = f'the nearest {nearest} are {abs(offset_s):.2f} s {side} than the image'
    if abs(offset_s) > 10.0:
        return f'{what}: their sensor has stopped, or has another clock than the camera'
    return (
        f'{what}: raise scale.max_time_offset ({max_offset_s:g} s), with scale.fixed_frame set '
        'where the robot moves'
    )
