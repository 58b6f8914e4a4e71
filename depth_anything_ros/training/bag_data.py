# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of one's own camera from a ROS 2 bag, with a depth camera's depth or without.

The colour image is the one that the node would be given (tools.bag.find_sensors). Of several depth
images, those that are registered to it (same size, same frame_id) come first, then those with depth
in their name, those that this node did not publish itself, and short names; for them no calibration
is needed. depth/relative and depth/stddev are never taken: their values are no depth. Where there
is no depth image a lidar's points are taken, with camera_info and a static transform.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from torch.utils.data import Dataset

from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.ros.bags import (
    find_colour_image,
    first_message,
    of_type,
    open_bag,
    read_recorded,
    read_serialized,
    TYPES,
)
from depth_anything_ros.ros.cdr import stamp_of
from depth_anything_ros.ros.depth_messages import decode_depth, DepthReading
from depth_anything_ros.ros.messages import decode_camera, decode_image, is_rectified
from depth_anything_ros.training.lidar_labels import find_lidar, LidarLabels, pinhole
from depth_anything_ros.training.sample import Intrinsics, own_sample, Sample

Read = TypeVar('Read')
PAIR_TOLERANCE_NS = 20_000_000  # half a frame at 25 Hz
_STAMP_ENDS = 12  # bytes of a serialised message with a header

Stamps = NDArray[np.int64]  # sorted
Index = NDArray[np.int64]  # Nx2: stamp, and time of recording


def is_bag(path: Path) -> bool:
    """Whether a path is meant as a ROS 2 bag: its folder, or a single .mcap or .db3 file."""
    return (path / 'metadata.yaml').is_file() or any(
        file.suffix in ('.mcap', '.db3') for file in (path, *path.glob('*')))


class BagSamples(Dataset[Sample]):
    """A bag's colour images, each read when it is asked for."""

    def __init__(self, path: Path, with_depth: bool) -> None:
        """Find what is wanted in a bag, and say which topics it is from.

        Args:
            path: of the bag.
            with_depth: whether depth is needed: an image then counts if it and a depth image are
                each other's nearest in time, PAIR_TOLERANCE_NS apart at most.

        Raises:
            DatasetError: it is no bag, there is no colour image or no depth registered to it, or
                none of their stamps match.
        """
        self.path = path
        self._lidar: LidarLabels | None = None
        self._opened: tuple[int, Reader, ExitStack] | None = None
        with open_bag(path) as bag:
            image, first = find_colour_image(bag)
            self._size, self._topics = decode_image(first).shape[:2], [image.topic]
            self._intrinsics = _intrinsics(bag, image, self._size)
            if with_depth:
                if not (images := _depth_images(bag)):
                    self._lidar = find_lidar(bag, path, self._size)
                self._topics.append(
                    _find_depth(bag, images, image, self._size, first.header.frame_id)
                    if self._lidar is None else self._lidar.topic)
            info = _beside(image) if self._lidar is None else self._lidar.camera_info
            index, lenses = _index(bag, self._topics, info)
        if len(lenses) > 1:
            if self._lidar is not None:
                raise DatasetError(f'{path}: {info} changes on the way, and with it the pixels '
                                   'that points are seen at: split the bag there')
            self._intrinsics = None
        self._rows = _paired(path, self._topics, index)
        print(f'{path}: {len(self)} pictures from {", depth from ".join(self._topics)}')

    def __len__(self) -> int:
        return len(self._rows[0])

    def __getitem__(self, index: int) -> Sample:
        """Read one image at its own size; depth of 0, NaN or infinity is unknown.

        With a lidar for labels, images are rectified.

        Raises:
            DatasetError: a message is corrupt, or of another size than the first.
        """
        image_rgb = np.asarray(self._read(0, index, decode_image), np.uint8)
        if len(self._topics) == 1:
            return own_sample(image_rgb, None, intrinsics=self._intrinsics)
        if self._lidar is not None:
            points = self._read(1, index, self._lidar.decode)
            stamp_ns = int(self._rows[0][index, 0])
            return self._lidar.sample(image_rgb, points, stamp_ns, PAIR_TOLERANCE_NS)
        depth_m = self._read(1, index, _depth_m)
        return own_sample(image_rgb, np.where(np.isfinite(depth_m), depth_m, np.float32(np.nan)),
                          intrinsics=self._intrinsics)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: each process reads through its own."""
        return {**self.__dict__, '_opened': None}

    def _read(self, which: int, index: int, decode: Callable[[Any], Read]) -> Read:
        stamp_ns, time_ns = self._rows[which][index].tolist()
        bag, topic = self._reader(), self._topics[which]
        connections = [c for c in bag.connections if c.topic == topic]
        for connection, _, data in read_recorded(bag, connections, time_ns, time_ns + 1):
            if stamp_of(data) == stamp_ns:
                message = TYPES.deserialize_cdr(data, connection.msgtype)
                return _decoded(message, self._size, f'{self.path}: {topic}', decode)
        raise DatasetError(f'{self.path} changed while it was read: start the run again')

    def _reader(self) -> Reader:
        if self._opened is None or self._opened[0] != os.getpid():
            stack = ExitStack()
            self._opened = os.getpid(), stack.enter_context(open_bag(self.path)), stack
        return self._opened[1]


def _decoded(message: Any, size: tuple[int, ...], where: str, decode: Callable[[Any], Read]
             ) -> Read:
    stamp = f'{message.header.stamp.sec}.{message.header.stamp.nanosec:09d}'
    try:
        decoded = decode(message)
    except BadFrameError as error:
        raise DatasetError(f'{where} is corrupt at stamp {stamp} ({error}): cut that part out, or '
                           'record it again') from error
    if isinstance(decoded, np.ndarray) and decoded.shape[:2] != size:
        raise DatasetError(f'{where} changes its size from {size} to {decoded.shape[:2]} at stamp '
                           f'{stamp}: split the bag there')
    return decoded


def _depth_m(message: Any) -> NDArray[np.float32]:
    return decode_depth(message).depth_m


def _intrinsics(bag: Reader, image: Connection, size: tuple[int, ...]) -> Intrinsics | None:
    """Return what camera_info beside the image says, None where it says nothing of use."""
    for info in of_type(bag, 'CameraInfo'):
        if info.topic == _beside(image):
            with suppress(BadFrameError):
                camera = decode_camera(first_message(bag, info), is_rectified('auto', image.topic))
                return pinhole(camera) if camera.size == size else None
    return None


def _beside(image: Connection) -> str:
    return image.topic.removesuffix('/compressed').rpartition('/')[0] + '/camera_info'


def _depth_images(bag: Reader) -> dict[str, DepthReading]:
    """Return topic -> first message of the depth images, raw ones before compressed ones."""
    found = {}
    for connection in of_type(bag, 'Image') + of_type(bag, 'CompressedImage'):
        topic = connection.topic
        if topic.removesuffix('/compressedDepth').endswith(('/depth/relative', '/depth/stddev')):
            continue
        try:
            found[topic] = decode_depth(first_message(bag, connection))
        except BadFrameError as error:
            if error.reason != 'unsupported_encoding':
                raise DatasetError(f'{bag.path}: {topic} is corrupt at its first message '
                                   f'({error}): record it again') from error
    return found


def _find_depth(bag: Reader, found: dict[str, DepthReading], image: Connection,
                size: tuple[int, ...], frame: str) -> str:
    """Return the topic of the depth image, HxW and in the frame of the colour image."""
    if not found:
        there = [f'{c.topic} ({c.msgtype}{_encoding(bag, c)})' for c in bag.connections]
        raise DatasetError(
            f'{bag.path} has no depth to learn from beside {image.topic}: a sensor_msgs/msg/Image '
            'of encoding 32FC1 (metres) or 16UC1 (millimetres), or its compressedDepth, or points '
            'with camera_info and /tf_static are wanted, and there are ' + ', '.join(there))

    def registered(topic: str) -> bool:
        return (*found[topic].depth_m.shape, found[topic].frame_id) == (*size, frame)

    depth = min(found, key=lambda topic: (
        not registered(topic), 'depth' not in topic,
        topic.removesuffix('/compressedDepth').endswith('/depth/image')))
    if not registered(depth):
        height, width = found[depth].depth_m.shape
        raise DatasetError(
            f'{bag.path}: {depth} ({width}x{height}, frame "{found[depth].frame_id}") is not '
            f'registered to {image.topic} ({size[1]}x{size[0]}, frame "{frame}"): record depth '
            'that the driver aligned to it')
    return depth


def _encoding(bag: Reader, connection: Connection) -> str:
    if connection.msgtype != 'sensor_msgs/msg/Image' or not connection.msgcount:
        return ''
    return f', {first_message(bag, connection).encoding}'


def _index(bag: Reader, topics: list[str], info: str) -> tuple[list[Index], set[str]]:
    """Read a bag through.

    Returns:
        Stamp and time of recording of each topic's messages, of two of one stamp the last; and what
        the messages of a camera_info say beside their headers, each once.
    """
    found: dict[str, dict[int, int]] = {topic: {} for topic in topics}
    bodies: dict[bytes, bytes] = {}
    connections = [c for c in bag.connections if c.topic in topics]
    infos = [c for c in of_type(bag, 'CameraInfo') if c.topic == info]
    for connection, time_ns, data in read_serialized(bag, connections + infos):
        if connection.topic in found:
            found[connection.topic][stamp_of(data)] = time_ns
        else:
            bodies.setdefault(bytes(data[_STAMP_ENDS:]), data)
    # Bytes between fields may be of any value.
    said = [vars(TYPES.deserialize_cdr(data, infos[0].msgtype)) for data in bodies.values()]
    lenses = {str([(name, value.tolist() if isinstance(value, np.ndarray) else value)
                   for name, value in each.items() if name != 'header']) for each in said}
    return [np.array(sorted(times.items()), np.int64).reshape(-1, 2) for times in found.values()
            ], lenses


def _paired(path: Path, topics: list[str], index: list[Index]) -> list[Index]:
    """Return the rows of each topic that count, in pairs."""
    if len(topics) == 1:
        return index
    stamps = [rows[:, 0] for rows in index]
    images, depths = _pairs(*stamps)
    if not len(images):
        apart_s = np.abs(stamps[1][_nearest(*stamps)] - stamps[0]).min() / 1e9
        raise DatasetError(
            f'{path}: no stamp of {topics[1]} is within {PAIR_TOLERANCE_NS / 1e9} s of one of '
            f'{topics[0]}, the nearest is {apart_s:.3f} s away: record both from one driver, '
            'or synchronise their clocks')
    return [index[0][images], index[1][depths]]


def _pairs(images: Stamps, depths: Stamps) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where those images and depths are that are each other's nearest and near enough."""
    partners = _nearest(images, depths)
    rows = np.arange(len(images))
    good = images[_nearest(depths[partners], images)] == images
    good &= np.abs(depths[partners] - images) <= PAIR_TOLERANCE_NS
    return rows[good], partners[good]


def _nearest(stamps: Stamps, among: Stamps) -> NDArray[np.intp]:
    """Return the index of the nearest for each; the stamps to choose among are sorted."""
    after = np.searchsorted(among, stamps).clip(max=len(among) - 1)
    before = (after - 1).clip(min=0)
    return np.where(stamps - among[before] <= among[after] - stamps, before, after)
