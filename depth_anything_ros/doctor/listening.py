# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Listens for some seconds to what the node listens to, and keeps what came."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
import time
from typing import Any, NamedTuple

import numpy as np
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.annotation.topic_facts import TopicWatch
from depth_anything_ros.doctor.facts import Clock, Endpoint, InputSeen
from depth_anything_ros.doctor.late_transforms import LateTransforms
from depth_anything_ros.doctor.running_node import clash_of, full_name
from depth_anything_ros.doctor.view import Expected, View
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.cdr import stamp_of
from depth_anything_ros.ros.messages import deserialize, NANOSECONDS, stamp_to_ns

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not among the wheels
    TFMessage = None

LOOKED_AT = 5  # images, the newest
_KEPT = 40  # messages of each other input
_IMAGES, _SPAN_S = 3, 1.0  # by which a rate is known
_MESSAGES = 2
_SENSORS = ('points', 'scan', 'sensor_depth/image', 'right/image', 'range')


class Kept(NamedTuple):
    """One message.

    Attributes:
        arrived_s: on the monotonic clock.
        name: of the input.
        stamp_ns: of its header.
        data: CDR.
    """

    arrived_s: float
    name: str
    stamp_ns: int
    data: bytes


class InputWatch:
    """One input, as its messages come.

    Attributes:
        expected: what it is.
        kept: the newest messages.
        stamps_ns: of all.
        publishers: of the topic, as they are known.
    """

    def __init__(self, node: Node, name: str, expected: Expected) -> None:
        """Expect messages, which `take` is to be called with."""
        self.expected, self._name = expected, name
        self.kept: deque[Kept] = deque(maxlen=LOOKED_AT if name == 'image' else _KEPT)
        self.stamps_ns: list[int] = []
        self.publishers: tuple[Endpoint, ...] = ()
        self.largest = self.zero = 0
        self.is_latched = False
        self.watch = TopicWatch(expected.topic, expected.type_name)
        self._node = node

    def look(self) -> None:
        """Ask the graph who publishes."""
        infos = self._node.get_publishers_info_by_topic(self.expected.topic)
        self.publishers = tuple(
            Endpoint(
                full_name(each.node_namespace, each.node_name),
                each.topic_type,
                clash_of(each.qos_profile, self.expected.qos),
            )
            for each in infos
        )
        self.is_latched |= any(
            each.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for each in infos
        )

    def take(self, data: bytes) -> int | None:
        """Keep a serialised message; return its stamp, None where it is no message."""
        self.watch.add(time.time_ns(), data)
        self.largest = max(self.largest, len(data))
        try:
            stamp_ns = stamp_of(data)
        except BadFrameError:
            return None
        self.zero += not stamp_ns
        self.stamps_ns.append(stamp_ns)
        self.kept.append(Kept(time.monotonic(), self._name, stamp_ns, data))
        return stamp_ns

    @property
    def fitting(self) -> bool:
        """Whether somebody publishes what is expected."""
        return any(each.kind == self.expected.type_name for each in self.publishers)

    def facts(self) -> InputSeen:
        """Return what was seen, without what is told beside it."""
        facts = self.watch.facts()
        return InputSeen(
            self.expected.topic,
            self.expected.type_name,
            self.publishers,
            facts if facts.messages else None,
            self.largest,
            self.zero,
        )


class Listener:
    """All inputs of a view, TF and /clock.

    Attributes:
        inputs: by name.
        has_tf: whether TF can be read here.
        transforms: what came of it.
    """

    def __init__(self, node: Node, view: View) -> None:
        """Subscribe so that every publisher matches; what would not match is told by names."""
        self._node, self._view = node, view
        self.inputs = {n: InputWatch(node, n, e) for n, e in view.inputs.items()}
        self._latched: set[str] = set()
        best_effort = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
        for name, expected in view.inputs.items():
            self._subscribe(expected.kind, expected.topic, best_effort, partial(self._take, name))
        self._clock_ns: list[int] = []
        node.create_subscription(ClockMessage, '/clock', self._tick, best_effort)
        self.has_tf, self.transforms = TFMessage is not None, LateTransforms()
        if self.has_tf:
            for topic, durability in (
                ('/tf', DurabilityPolicy.VOLATILE), ('/tf_static', DurabilityPolicy.TRANSIENT_LOCAL)
            ):
                static = durability is DurabilityPolicy.TRANSIENT_LOCAL
                qos = QoSProfile(depth=100, durability=durability)
                self._subscribe(TFMessage, topic, qos, partial(self._on_transforms, static))

    def look(self) -> None:
        """Ask the graph who publishes, and subscribe to a camera_info that was latched."""
        for name, watch in self.inputs.items():
            watch.look()
            if watch.is_latched and watch.expected.kind is CameraInfo and name not in self._latched:
                self._latched.add(name)
                qos = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
                take = partial(self._take, name)
                self._subscribe(CameraInfo, watch.expected.topic, qos, take)

    @property
    def news(self) -> tuple[int, int]:
        """What grows with each input that is found, and with each that begins to speak."""
        return (
            sum(watch.fitting for watch in self.inputs.values()),
            sum(bool(watch.stamps_ns) for watch in self.inputs.values()),
        )

    @property
    def is_complete(self) -> bool:
        """Whether more listening would tell nothing new, unless something is wrong."""
        image, info = self.inputs['image'], self.inputs['camera_info']
        if len(image.stamps_ns) < _IMAGES or not info.stamps_ns:
            return False
        if abs(image.stamps_ns[-1] - image.stamps_ns[0]) < _SPAN_S * NANOSECONDS:
            return False
        for watch in self.inputs.values():
            needed = 1 if watch.expected.kind is CameraInfo else _MESSAGES
            if watch.fitting and len(watch.stamps_ns) < needed:
                return False
        scale = self._view.config.scale
        by_itself = scale.camera_height or scale.ground_frame or scale.fixed_frame
        sensors = [self.inputs[name] for name in _SENSORS if name in self.inputs]
        if not by_itself and sensors and not any(watch.stamps_ns for watch in sensors):
            return False
        if self._view.use_sim_time and not self.clock().went_s:
            return False
        return not self.has_tf or self.transforms.is_known

    def targets(self) -> dict[str, str]:
        """Return the frames whose pose the node asks TF for, and whose they are."""
        scale, found = self._view.config.scale, dict[str, str]()
        camera = self.inputs['image'].watch.frame_id
        for name in _SENSORS:
            watch = self.inputs.get(name)
            frame = '' if watch is None else watch.watch.frame_id
            given = name in ('points', 'scan') and any(scale.T_camera_sensor)
            if frame and frame != camera and not given and name != 'right/image':
                found[frame] = name
        for frame, whose in (
            (scale.ground_frame, 'scale.ground_frame'), (scale.fixed_frame, 'scale.fixed_frame')
        ):
            if frame:
                found[frame] = whose
        return {frame.lstrip('/'): whose for frame, whose in found.items()} if camera else {}

    def facts(self) -> dict[str, InputSeen]:
        """Return what was seen of each input."""
        found = {name: watch.facts() for name, watch in self.inputs.items()}
        images = np.array(self.inputs['image'].stamps_ns, np.int64)
        infos = np.array(self.inputs['camera_info'].stamps_ns, np.int64)
        if len(images):
            within = infos[(infos >= images.min()) & (infos <= images.max())]
            if np.isin(within, images).any():
                missed = int((~np.isin(within, images)).sum())
                found['image'] = replace(
                    found['image'], missed=missed, expected=len(within)
                )
        return found

    def clock(self) -> Clock:
        """Return what came on /clock."""
        infos = self._node.get_publishers_info_by_topic('/clock')
        image = self.inputs['image'].stamps_ns
        went_ns = max(self._clock_ns) - min(self._clock_ns) if self._clock_ns else 0
        known = self._clock_ns and image
        return Clock(
            self._view.use_sim_time,
            tuple(full_name(each.node_namespace, each.node_name) for each in infos),
            len(self._clock_ns),
            went_ns / NANOSECONDS,
            (image[-1] - self._clock_ns[-1]) / NANOSECONDS if known else float('nan'),
        )

    def _subscribe(self, kind: Any, topic: str, qos: QoSProfile, take: Any) -> None:
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)
        self._node.create_subscription(kind, topic, take, qos, raw=True, event_callbacks=quiet)

    def _take(self, name: str, data: bytes) -> None:
        stamp_ns = self.inputs[name].take(data)
        if stamp_ns is None:
            return
        self.transforms.want(self.inputs['image'].watch.frame_id.lstrip('/'), self.targets())
        if name == 'image':
            self.transforms.image(stamp_ns, time.monotonic())

    def _on_transforms(self, static: bool, data: bytes) -> None:
        try:
            transforms = transforms_in(data)
        except BadFrameError:
            return
        self.transforms.add(transforms, static, time.monotonic())

    def _tick(self, message: ClockMessage) -> None:
        self._clock_ns.append(stamp_to_ns(message.clock))


def transforms_in(data: bytes) -> list[Any]:
    """Return the transforms of a serialised TFMessage."""
    return list(deserialize(data, TFMessage).transforms)
