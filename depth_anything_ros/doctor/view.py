# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node would subscribe to, or does: names, types and quality of service of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

from rclpy.qos import QoSProfile

from depth_anything_ros.annotation.topics import KINDS
from depth_anything_ros.config import Config
from depth_anything_ros.doctor.asked import asking_node
from depth_anything_ros.doctor.topic_names import raw_name
from depth_anything_ros.ros import parameters
from depth_anything_ros.ros.inputs import Inputs
from depth_anything_ros.ros.sensors import Input, Sensors
from depth_anything_ros.ros.surroundings import Surroundings
from depth_anything_ros.ros.transforms import Transforms


@dataclass(frozen=True)
class Expected:
    """One input.

    Attributes:
        topic: resolved, with its transport.
        kind: message class.
        qos: of the subscription.
        chosen: whether it is not where it would be without remaps.
    """

    topic: str
    kind: Any
    qos: QoSProfile
    chosen: bool

    @property
    def type_name(self) -> str:
        """The type as the graph names it."""
        return f'sensor_msgs/msg/{self.kind.__name__}'


@dataclass(frozen=True)
class View:
    """What is looked at.

    Attributes:
        node: full name that the node has or would have.
        config: its parameters.
        use_sim_time: another of them.
        inputs: name as in the contract -> what it is.
        camera: of several; empty where it is the only one.
    """

    node: str
    config: Config
    use_sim_time: bool
    inputs: Mapping[str, Expected]
    camera: str = ''

    @property
    def is_chosen(self) -> bool:
        """Whether anything was remapped."""
        return any(expected.chosen for expected in self.inputs.values())


def asked_view(camera: str = '', running: Config | None = None) -> View:
    """Return what a node that is started with the arguments of rclpy.init() would look at.

    The node's own code says so.

    Args:
        camera: one of several; empty is the first of them.
        running: parameters of the node that runs, in place of those of the arguments.

    Raises:
        ConfigError: a parameter is wrong.
    """
    with asking_node() as node:
        config = parameters.declare(node)
        config = running or config
        camera = camera or next(iter(config.cameras), '')
        if running is None and camera in config.cameras:
            config = parameters.of_camera(node, config, camera)
        prefix = f'{camera}/' if camera else ''
        sensors = Sensors(config)
        around = Surroundings(
            config, Transforms(config.scale, None), node.resolve_topic_name, sensors, camera
        )
        images = Input(around.image_kind, _Nowhere(), 1, config.image_transport)
        namespace = node.get_namespace().rstrip('/')
        found = {}
        for asked, of in (({'image': images, **around.own}, prefix), (sensors.inputs, '')):
            inputs = Inputs(node, asked, _ignore, of)
            for name, subscription in inputs.subscriptions().items():
                topic = str(subscription.topic_name)
                chosen = raw_name(topic) != f'{namespace}/{of}{name}'
                kind = subscription.msg_type
                found[name] = Expected(topic, kind, subscription.qos_profile, chosen)
            inputs.close()
        return View(
            node.get_fully_qualified_name(),
            config,
            bool(node.get_parameter('use_sim_time').value),
            found,
            camera,
        )


def assigned(
    view: View, subscribed: Mapping[str, str], qos: Mapping[str, QoSProfile]
) -> tuple[View, dict[str, str]]:
    """Return the view of what a running node subscribes to, where nothing else was asked about.

    Args:
        view: what was asked about.
        subscribed: topic -> type, of the node.
        qos: topic -> what the node asks for.

    Returns:
        The view, and input -> topic for what was asked about and the node does not listen to.
    """
    inputs, elsewhere = dict(view.inputs), dict[str, str]()
    free = {t: kind for t, kind in subscribed.items() if kind.startswith('sensor_msgs/')}
    open_names = []
    for name, expected in view.inputs.items():
        if expected.topic in free:
            inputs[name] = replace(expected, qos=qos.get(expected.topic, expected.qos))
            del free[expected.topic]
        elif expected.chosen:
            elsewhere[name] = expected.topic
        else:
            open_names.append(name)
    for name in open_names:
        expected = view.inputs[name]
        fitting = [
            topic for topic, kind in free.items()
            if kind.rpartition('/')[2] in KINDS.get(name, ('Image', 'CompressedImage'))
        ]
        if not fitting:
            continue
        nearest = max(fitting, key=lambda t: SequenceMatcher(None, t, inputs[name].topic).ratio())
        kind = _class_of(free.pop(nearest))
        inputs[name] = Expected(nearest, kind, qos.get(nearest, expected.qos), True)
    return replace(view, inputs=inputs), elsewhere


def _class_of(type_name: str) -> Any:
    from sensor_msgs import msg

    return getattr(msg, type_name.rpartition('/')[2])


class _Nowhere:
    """Takes no message: the node of which it is goes before one could come."""

    def add(self, data: bytes) -> None:
        """Take nothing."""


def _ignore(_: Any) -> None:
    return None
