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
    view: View, subscribed: Mapping[str, str], qos: Mapping[str, QoSProfile], image: str
) -> tuple[View, dict[str, str]]:
    """Return the view of what a running node subscribes to, where nothing else was asked about.

    Which input a topic is cannot be asked; a name that is nearest to what is expected decides.

    Args:
        view: what was asked about.
        subscribed: topic -> type, of the node's inputs.
        qos: topic -> what the node asks for.
        image: topic of the images, as the node says; empty where it does not.

    Returns:
        The view, and input -> topic for what was asked about and the node does not listen to.
    """
    inputs, elsewhere = dict(view.inputs), dict[str, str]()
    free = dict(subscribed)
    wanted = {name: expected.topic for name, expected in inputs.items()}
    if image in free and not inputs['image'].chosen:
        wanted['image'] = image
        if not inputs['camera_info'].chosen and wanted['camera_info'] not in free:
            wanted['camera_info'] = f'{raw_name(image).rpartition("/")[0]}/camera_info'
    for exactly in (True, False):
        for name in list(wanted):
            expected, topic = inputs[name], wanted[name]
            if not exactly and expected.chosen:
                elsewhere[name] = topic
            elif not exactly:
                kinds = KINDS.get(name, ('Image', 'CompressedImage'))
                fitting = [t for t, kind in free.items() if kind.rpartition('/')[2] in kinds]
                topic = max(fitting, key=lambda t: _likeness(t, wanted[name]), default='')
            if topic in free:
                kind, at_home = _class_of(free.pop(topic)), topic == expected.topic
                inputs[name] = Expected(
                    topic, kind, qos.get(topic, expected.qos), expected.chosen or not at_home
                )
                del wanted[name]
    return replace(view, inputs=inputs), elsewhere


def _likeness(topic: str, wanted: str) -> float:
    return SequenceMatcher(None, topic, wanted).ratio()


def _class_of(type_name: str) -> Any:
    from sensor_msgs import msg

    return getattr(msg, type_name.rpartition('/')[2])


class _Nowhere:
    """Takes no message: the node of which it is goes before one could come."""

    def add(self, data: bytes) -> None:
        """Take nothing."""


def _ignore(_: Any) -> None:
    return None
