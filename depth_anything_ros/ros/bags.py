# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read any ROS 2 bag, and write one (mcap) that RViz, Foxglove and `ros2 bag play` open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload, TypeVar

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import (
    CompressionFormat,
    CompressionMode,
    Reader,
    storage_mcap,
    StoragePlugin,
    Writer,
)
from rosbags.typesys import get_typestore, Stores

from depth_anything_ros.errors import BadFrameError, DatasetError, reason
from depth_anything_ros.poses import Matrix
from depth_anything_ros.ros.cdr import check_cdr, stamp_of
from depth_anything_ros.ros.messages import decode_image, ns_to_stamp, transform_to_matrix
from depth_anything_ros.ros.recovery import RecoveringReader
from depth_anything_ros.ros.unpacking import unpack_chunk

# What says how long it is when unpacked may lie: rosbags unpacks chunks within these bounds too.
storage_mcap.DECOMPRESSORS.update({name: partial(unpack_chunk, name) for name in ('lz4', 'zstd')})
TYPES = get_typestore(Stores.ROS2_JAZZY)
_Bag = TypeVar('_Bag')
_Opened = AbstractContextManager[_Bag]
_FOREVER = QosTime(9223372036, 854775807)  # rclcpp's infinite duration


@dataclass(frozen=True)
class Sensors:
    """The topics of a bag that the node can use.

    Attributes:
        image: colour image, by the name that its raw transport has or would have.
        compressed: whether it is a CompressedImage.
        camera_info: calibration of that image.
        points: PointCloud2 or LaserScan, None where there is neither.
        is_scan: whether points is a LaserScan.
        T_camera_sensor: 4x4 pose of the points' frame in the image's, None where no static
            transform says it.
        frames: of the image and of the points.
    """

    image: str
    compressed: bool
    camera_info: str
    points: str | None
    is_scan: bool
    T_camera_sensor: Matrix | None
    frames: tuple[str, str]

    @property
    def image_topic(self) -> str:
        """The topic on which the image is in the bag."""
        return f'{self.image}/compressed' if self.compressed else self.image


@overload
def open_bag(path: str | Path, recover: Literal[False] = False) -> _Opened[Reader]: ...


@overload
def open_bag(path: str | Path, recover: Literal[True]) -> _Opened[RecoveringReader]: ...


@contextmanager
def open_bag(path: str | Path, recover: bool = False) -> Iterator[Any]:
    """Open a ROS 2 bag for reading.

    Args:
        path: its folder, or a single .mcap or .db3 file.
        recover: read what can be read of a broken one, all of it once before anything else; its
            `loss` says what cannot, and `refused` which messages were none.

    Raises:
        DatasetError: there is no readable ROS 2 bag, or nothing in it can be read.
    """
    try:
        reader = (RecoveringReader if recover else Reader)(Path(path).expanduser())
        reader.open()
    except DatasetError:
        raise
    except Exception as error:  # what rosbags stumbles over in broken bytes is of any kind
        raise DatasetError(
            f'{path} is no ROS 2 bag ({reason(error)}): give the folder that holds '
            'metadata.yaml, or a single .mcap or .db3 file'
        ) from error
    try:
        yield reader
    finally:
        reader.close()


def find_sensors(path: str | Path) -> Sensors:
    """Find a bag's colour image, its calibration and the points that can anchor the scale.

    Of several, an image with camera_info beside it comes first, then the shorter name: what is
    computed from a driver's topic mostly stands in a deeper namespace.

    Args:
        path: of the bag.

    Raises:
        DatasetError: it is no bag, or holds no colour image or no calibration.
    """
    with open_bag(path) as bag:
        infos = of_type(bag, 'CameraInfo')
        if not infos:
            raise DatasetError(
                f'{path} has no sensor_msgs/CameraInfo, and without the calibration a depth is '
                'no place: record camera_info too'
            )
        image, first = find_colour_image(bag)
        compressed = image.msgtype.endswith('CompressedImage')
        sensors = of_type(bag, 'PointCloud2') + of_type(bag, 'LaserScan')
        points = sensors[0] if sensors else None
        frame = first_message(bag, points).header.frame_id if points else ''
        return Sensors(
            image.topic.removesuffix('/compressed') if compressed else image.topic,
            compressed,
            _sibling(image.topic, infos) or infos[0].topic,
            points.topic if points else None,
            points is not None and points.msgtype.endswith('LaserScan'),
            chain(_static_transforms(bag), first.header.frame_id, frame) if points else None,
            (first.header.frame_id, frame),
        )


def of_type(bag: Reader, name: str) -> list[Connection]:
    """Return the connections of a type of sensor_msgs that have messages, short names first."""
    found = [c for c in bag.connections if c.msgtype == f'sensor_msgs/msg/{name}' and c.msgcount]
    return sorted(found, key=lambda c: (len(c.topic), c.topic))


def _sibling(image_topic: str, infos: list[Connection]) -> str | None:
    """Return the camera_info topic of an image as image_transport looks for it."""
    base = image_topic.removesuffix('/compressed')
    wanted = base.rpartition('/')[0] + '/camera_info'
    return next((c.topic for c in infos if c.topic == wanted), None)


def read_serialized(
    bag: Reader, connections: list[Connection]
) -> Iterator[tuple[Connection, int, bytes]]:
    """Read messages as they were recorded, checked but not taken apart.

    Yields:
        Connection, time of recording in nanoseconds, and the message in CDR.

    Raises:
        DatasetError: the bag or a message in it is corrupt; where the bag was opened to be
            recovered, such messages are left out and counted instead.
    """
    if not connections:
        return  # of none, rosbags reads all
    topic = connections[0].topic
    try:
        for connection, time_ns, data in bag.messages(connections):
            topic = connection.topic
            name = _name(connection)
            try:
                check_cdr(data, name)
                if name != 'TFMessage':  # which has no stamp of its own
                    stamp_of(data)
            except BadFrameError:
                if not isinstance(bag, RecoveringReader):
                    raise
                bag.refused[topic] = bag.refused.get(topic, 0) + 1
                continue
            yield connection, time_ns, data
    except Exception as error:  # see open_bag()
        raise DatasetError(
            f'{bag.path} is corrupt at {topic} ({reason(error)}): cut that part out, or record it '
            'again'
        ) from error


def read_messages(bag: Reader, connections: list[Connection]) -> Iterator[tuple[str, Any]]:
    """Read messages as they were recorded.

    Yields:
        Topic and message.

    Raises:
        DatasetError: the bag or a message in it is corrupt.
    """
    for connection, _, data in read_serialized(bag, connections):
        yield connection.topic, TYPES.deserialize_cdr(data, connection.msgtype)


def _name(connection: Connection) -> str:
    return connection.msgtype.rpartition('/')[2]


def first_message(bag: Reader, connection: Connection) -> Any:
    """Return the first message of a topic.

    Raises:
        DatasetError: there is none, or it is corrupt.
    """
    for _, message in read_messages(bag, [connection]):
        return message
    raise DatasetError(
        f'{bag.path} has no message of {connection.topic}, though its index counts '
        f'{connection.msgcount}: ros2 bag reindex it'
    )


def find_colour_image(bag: Reader) -> tuple[Connection, Any]:
    """Find a bag's colour image; see find_sensors() for which of several.

    Returns:
        Its connection, and its first message.

    Raises:
        DatasetError: there is none.
    """
    infos = of_type(bag, 'CameraInfo')
    images = of_type(bag, 'Image') + of_type(bag, 'CompressedImage')
    images.sort(key=lambda c: _sibling(c.topic, infos) is None)  # stable: short names stay first
    for connection in images:
        message = first_message(bag, connection)
        try:
            decode_image(message)
        except BadFrameError:  # a depth image, say
            continue
        return connection, message
    raise DatasetError(f'{bag.path} has no colour or gray image: record the camera\'s image topic')


def _static_transforms(bag: Reader) -> dict[tuple[str, str], Matrix]:
    """Return (parent, child) -> pose of the child in the parent."""
    connections = [
        c for c in bag.connections
        if c.topic.endswith('/tf_static') and c.msgtype == 'tf2_msgs/msg/TFMessage'
    ]
    found = {}
    for topic, message in read_messages(bag, connections):
        for t in message.transforms:
            try:
                pose = transform_to_matrix(t.transform)
            except BadFrameError as error:
                raise DatasetError(f'{bag.path}: {topic} is corrupt: {error}') from error
            found[t.header.frame_id, t.child_frame_id] = pose
    return found


def chain(
    transforms: dict[tuple[str, str], Matrix], target: str, source: str
) -> Matrix | None:
    """Return the pose of one frame in another along a tree of transforms.

    Args:
        transforms: (parent, child) -> 4x4 pose of the child in the parent.
        target: frame in which the pose is wanted.
        source: frame whose pose is wanted.

    Returns:
        4x4 T_target_source, or None where the two are not connected.
    """
    edges = {**transforms, **{(c, p): np.linalg.inv(T) for (p, c), T in transforms.items()}}
    reached, front = {target: np.eye(4)}, [target]
    while front:
        frame = front.pop()
        for (parent, child), T in edges.items():
            if parent == frame and child not in reached:
                reached[child] = reached[frame] @ T
                front.append(child)
    return reached.get(source)


class BagWriter:
    """Writes serialised messages as they arrive; a context manager."""

    def __init__(self, path: Path) -> None:
        """Prepare a new bag in a folder that does not exist yet.

        The storage version is 8, which all of Humble to Lyrical read; mcap compresses by itself.
        """
        self._writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add_topic(self, topic: str, msgtype: str, latched: bool = False) -> None:
        """Announce a topic, reliable, and transient local where it is latched."""
        qos = Qos(
            QosHistory.KEEP_LAST,
            1 if latched else 10,
            QosReliability.RELIABLE,
            QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
            _FOREVER,
            _FOREVER,
            QosLiveliness.AUTOMATIC,
            _FOREVER,
            False,
        )
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=TYPES, offered_qos_profiles=[qos]
        )

    def write(self, topic: str, time_ns: int, data: bytes) -> None:
        """Write one message in CDR, as it came from the middleware."""
        self._writer.write(self._connections[topic], time_ns, data)

    def write_static_transforms(
        self, time_ns: int, transforms: Sequence[tuple[str, str, Sequence[float]]]
    ) -> None:
        """Write /tf_static: parent frame, child frame and its pose x y z qx qy qz qw each."""
        kinds = TYPES.types
        stamp = kinds['builtin_interfaces/msg/Time'](**ns_to_stamp(time_ns))
        stamped = []
        for parent, child, pose in transforms:
            transform = kinds['geometry_msgs/msg/Transform'](
                translation=kinds['geometry_msgs/msg/Vector3'](*pose[:3]),
                rotation=kinds['geometry_msgs/msg/Quaternion'](*pose[3:]),
            )
            header = kinds['std_msgs/msg/Header'](stamp=stamp, frame_id=parent)
            stamped.append(kinds['geometry_msgs/msg/TransformStamped'](header, child, transform))
        msgtype = 'tf2_msgs/msg/TFMessage'
        self.add_topic('/tf_static', msgtype, latched=True)
        data = TYPES.serialize_cdr(kinds[msgtype](transforms=stamped), msgtype)
        self.write('/tf_static', time_ns, bytes(data))


def read_recorded(
    bag: Reader,
    connections: list[Connection],
    start_ns: int | None = None,
    stop_ns: int | None = None,
) -> Iterator[tuple[Connection, int, bytes]]:
    """Read messages byte for byte as they were recorded, whatever they hold.

    Args:
        bag: an open one.
        connections: whose messages.
        start_ns: those recorded from then on; None is from the beginning.
        stop_ns: those recorded before; None is up to the end.

    Yields:
        Connection, time of recording in nanoseconds, and the message in CDR.

    Raises:
        DatasetError: the bag itself is corrupt.
    """
    if not connections:
        return  # of none, rosbags reads all
    try:
        yield from bag.messages(connections, start_ns, stop_ns)
    except DatasetError:
        raise
    except Exception as error:  # see open_bag()
        raise DatasetError(
            f'{bag.path} is corrupt ({reason(error)}): cut that part out, or record it again'
        ) from error
