# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag are the images of a camera, and which are the inputs beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CompressedImage, Image

from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.ros.bags import of_type, read_recorded
from depth_anything_ros.ros.messages import decode_image, deserialize

KINDS = {  # input -> types of sensor_msgs that it may have
    'camera_info': ('CameraInfo',),
    'points': ('PointCloud2',),
    'scan': ('LaserScan',),
    'range': ('Range',),
    'sensor_depth/image': ('Image', 'CompressedImage'),
    'sensor_depth/camera_info': ('CameraInfo',),
    'right/image': ('Image', 'CompressedImage'),
    'right/camera_info': ('CameraInfo',),
}
_TRANSPORTS = ('', '/compressed', '/compressedDepth')
_LOOKED_AT = 5  # images, of which one must be a picture


@dataclass(frozen=True)
class CameraTopics:
    """The topics of one camera and of what belongs to it.

    Attributes:
        image: topic of its images, by the name that the raw transport has or would have.
        topic: the topic on which they are in the bag.
        compressed: whether they are CompressedImage.
        inputs: name as in the node's contract (camera_info, points ...) -> topic in the bag.
    """

    image: str
    topic: str
    compressed: bool
    inputs: Mapping[str, str]

    @property
    def namespace(self) -> str:
        """Where the node of this camera would be, and its depth/ topics; empty is the root."""
        return self.image.rpartition('/')[0]

    def topic_of(self, name: str) -> str:
        """Return the topic that an input of the node is resolved to, without its transport."""
        if name == 'image':
            return self.image
        topic = self.inputs.get(name, name)
        return topic.removesuffix('/compressed').removesuffix('/compressedDepth')

    def configured(self, config: Config) -> Config:
        """Return the parameters with the transports that this bag has."""
        depth = self.inputs.get('sensor_depth/image', '').endswith('/compressedDepth')
        return with_values(
            config,
            {
                'image_transport': 'compressed' if self.compressed else 'raw',
                'scale.depth_transport': 'compressedDepth' if depth else 'raw',
            },
        )


def find_cameras(
    bag: Reader, wanted: tuple[str, ...] = (), remapped: Mapping[str, str] | None = None
) -> tuple[list[CameraTopics], list[str]]:
    """Find the cameras of a bag.

    Args:
        bag: an open one.
        wanted: topics of images; empty is every colour or gray camera, but one of a namespace.
        remapped: input of the node -> topic, where that is not the only one or the usual one.

    Returns:
        The cameras by name, and what somebody should know of what was chosen.

    Raises:
        DatasetError: a wanted topic is not there, or there is no camera.
    """
    given = {} if remapped is None else dict(remapped)
    notes: list[str] = []
    beside = _beside(bag, given, notes)
    images = {
        c.topic: c for kind in ('CompressedImage', 'Image') for c in of_type(bag, kind)
    }
    if wanted:
        chosen = [images[_in_bag(topic, images, bag)] for topic in wanted]
    else:
        used = {beside.get('sensor_depth/image'), beside.get('right/image')}
        chosen = list(_one_of_each(
            bag, [c for topic, c in sorted(images.items()) if topic not in used], notes
        ))
    if not chosen:
        raise DatasetError(f'{bag.path} has no colour or gray image: record the camera\'s topic')
    alone = {'camera_info', 'right/image', 'right/camera_info'} & set(given)
    if len(chosen) > 1 and alone:
        raise DatasetError(
            f'{alone.pop()} belongs to one camera, and here are {len(chosen)}: name it with '
            '--camera'
        )
    infos = {c.topic for c in of_type(bag, 'CameraInfo')}
    cameras = [_camera(c, infos, beside) for c in chosen]
    spaces = [camera.namespace for camera in cameras]
    for camera in cameras:
        if spaces.count(camera.namespace) > 1:
            raise DatasetError(
                f'{camera.topic} is not the only camera in {camera.namespace or "/"}, where the '
                'depth of one has room: name one with --camera'
            )
    return cameras, notes


def _camera(connection: Connection, infos: set[str], beside: Mapping[str, str]) -> CameraTopics:
    compressed = connection.msgtype.endswith('CompressedImage')
    image = connection.topic.removesuffix('/compressed') if compressed else connection.topic
    inputs = dict(beside)
    for name in ('', 'sensor_depth/', 'right/'):
        of = image if not name else inputs.get(f'{name}image')
        if of is None or f'{name}camera_info' in inputs:
            continue
        info = _base(of).rpartition('/')[0] + '/camera_info'
        if info in infos:
            inputs[f'{name}camera_info'] = info
    return CameraTopics(image, connection.topic, compressed, inputs)


def _beside(bag: Reader, given: dict[str, str], notes: list[str]) -> dict[str, str]:
    """Return the topics of the inputs that all cameras share."""
    beside = {}
    for name, topic in given.items():
        if name not in KINDS:
            raise DatasetError(f'{name} is no input of the node: {", ".join(KINDS)} are')
        there = {c.topic: c for kind in KINDS[name] for c in of_type(bag, kind)}
        beside[name] = _in_bag(topic, there, bag)
    for name in ('points', 'scan'):
        clouds = [c for kind in KINDS[name] for c in of_type(bag, kind)]
        found = [c.topic for c in clouds if not _is_ours(bag, c)]
        if found and not {'points', 'scan'} & set(given):
            beside[name] = found[0]
            if len(found) > 1:
                notes.append(
                    f'{name} is {found[0]}, not {", ".join(found[1:])}: -r {name}:=TOPIC names '
                    'another'
                )
    return beside


def _in_bag(topic: str, there: Mapping[str, Connection], bag: Reader) -> str:
    for transport in _TRANSPORTS:
        if topic + transport in there:
            return topic + transport
    raise DatasetError(
        f'{bag.path} has no {topic} of the type that is needed; it has '
        f'{", ".join(sorted(there)) or "none of that type"}'
    )


def _one_of_each(
    bag: Reader, connections: list[Connection], notes: list[str]
) -> Iterator[Connection]:
    """Yield the images that are pictures, one of each namespace: the raw one, the shorter name."""
    taken: dict[str, str] = {}
    ranked = sorted(connections, key=lambda c: (_base(c.topic) != c.topic, len(c.topic), c.topic))
    chosen = []
    for connection in ranked:
        namespace = _base(connection.topic).rpartition('/')[0]
        if _is_ours(bag, connection) or not _is_picture(bag, connection):
            continue
        if namespace in taken:
            if _base(connection.topic) != taken[namespace]:
                notes.append(
                    f'{connection.topic} is left out, since depth of {taken[namespace]} is in '
                    'its namespace: --camera names another'
                )
            continue
        taken[namespace] = _base(connection.topic)
        chosen.append(connection)
    yield from sorted(chosen, key=lambda c: c.topic)


def _base(topic: str) -> str:
    return topic.removesuffix('/compressed').removesuffix('/compressedDepth')


def _is_ours(bag: Reader, connection: Connection) -> bool:
    """Tell whether a topic is an output of an earlier run, which has depth/scale beside it."""
    return any(
        other.topic.endswith('/depth/scale')
        and other.msgtype == 'diagnostic_msgs/msg/DiagnosticStatus'
        and connection.topic.startswith(other.topic.removesuffix('scale'))
        for other in bag.connections
    )


def _is_picture(bag: Reader, connection: Connection) -> bool:
    """Tell pictures from depth images; a topic that begins with broken ones is for the report."""
    if connection.topic.endswith('/compressedDepth'):
        return False
    kind = CompressedImage if connection.msgtype.endswith('CompressedImage') else Image
    reasons = set()
    for _, _, data in islice(read_recorded(bag, [connection]), _LOOKED_AT):
        try:
            decode_image(deserialize(data, kind))
            return True
        except BadFrameError as error:
            reasons.add(error.reason)
    return 'unsupported_encoding' not in reasons
