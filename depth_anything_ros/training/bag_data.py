# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of one's own camera from a ROS 2 bag, with a depth camera's depth or without.

The colour image is the one that the node would be given (tools.bag.find_sensors); calibration is
not needed. Of several depth images, those that are registered to it (same size, same frame_id) come
first, then those with depth in their name, those that this node did not publish itself, and short
names. depth/relative and depth/stddev are never taken: their values are no depth.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.ros.bags import (
    find_colour_image,
    first_message,
    of_type,
    open_bag,
    read_messages,
)
from depth_anything_ros.ros.images import DEPTH_ENCODINGS, depth_plane
from depth_anything_ros.ros.messages import decode_image, stamp_to_ns
from depth_anything_ros.training.folder_data import (
    small_image,
    small_inverse_depth,
    UNKNOWN_CLASS,
)

PAIR_TOLERANCE_NS = 20_000_000  # half a frame at 25 Hz

Stamps = NDArray[np.int64]


def is_bag(path: Path) -> bool:
    """Whether a path is meant as a ROS 2 bag: its folder, or a single .mcap or .db3 file."""
    return (path / 'metadata.yaml').is_file() or any(
        file.suffix in ('.mcap', '.db3') for file in (path, *path.glob('*')))


def read_bag(path: Path, width: int, height: int, with_depth: bool
             ) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.uint8]]:
    """Read and resize the colour images of a bag, and say which topics they are from.

    Args:
        path: of the bag.
        width: pixels to resize to; the middle of the wanted shape is cut out first.
        height: pixels.
        with_depth: whether depth is needed: an image then counts if it and a depth image are each
            other's nearest in time, PAIR_TOLERANCE_NS apart at most.

    Returns:
        image_rgb NxHxWx3 uint8, inverse_depth NxHxW float16 in 1/m (NaN where depth is 0, NaN or
        infinite), and semantic NxHxW uint8, all UNKNOWN_CLASS.

    Raises:
        DatasetError: it is no bag, there is no colour image or no depth registered to it, none of
            their stamps match, or a message is corrupt.
    """
    with open_bag(path) as bag:
        image, first = find_colour_image(bag)
        size, topics = decode_image(first).shape[:2], [image.topic]
        if with_depth:
            topics.append(_find_depth(bag, image, size, first.header.frame_id))
        connections = [c for c in bag.connections if c.topic in topics]
        rows = _rows(path, topics, _stamps(bag, connections))
        count = len(rows[image.topic])
        print(f'{path}: {count} pictures from {", depth from ".join(topics)}')
        images = np.empty((count, height, width, 3), np.uint8)
        inverse = np.full((count, height, width), np.nan, np.float16)
        for topic, message in read_messages(bag, connections):
            row = rows[topic].get(stamp_to_ns(message.header.stamp))
            if row is None:
                continue
            decode = partial(_decoded, message, size, f'{path}: {topic}')
            if topic == image.topic:
                images[row] = small_image(decode(decode_image), width, height)
            else:
                depth_m = decode(depth_plane)
                known_m = np.where(np.isfinite(depth_m), depth_m, np.float32(np.nan))
                inverse[row] = small_inverse_depth(known_m, width, height)
    return images, inverse, np.full(inverse.shape, UNKNOWN_CLASS, np.uint8)


def _decoded(message: Any, size: tuple[int, ...], where: str,
             decode: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
    stamp = f'{message.header.stamp.sec}.{message.header.stamp.nanosec:09d}'
    try:
        decoded = decode(message)
    except BadFrameError as error:
        raise DatasetError(f'{where} is corrupt at stamp {stamp} ({error}): cut that part out, or '
                           'record it again') from error
    if decoded.shape[:2] != size:
        raise DatasetError(f'{where} changes its size from {size} to {decoded.shape[:2]} at stamp '
                           f'{stamp}: split the bag there')
    return decoded


def _find_depth(bag: Reader, image: Connection, size: tuple[int, ...], frame: str) -> str:
    """Return the topic of the depth image, HxW and in the frame of the colour image."""
    about = {c.topic: first_message(bag, c) for c in of_type(bag, 'Image')}

    def registered(topic: str) -> bool:
        message = about[topic]
        return (message.height, message.width, message.header.frame_id) == (*size, frame)

    found = [topic for topic, message in about.items() if message.encoding in DEPTH_ENCODINGS
             and not topic.endswith(('/depth/relative', '/depth/stddev'))]
    if not found:
        encodings = {topic: f', {message.encoding}' for topic, message in about.items()}
        there = [f'{c.topic} ({c.msgtype}{encodings.get(c.topic, "")})' for c in bag.connections]
        raise DatasetError(
            f'{bag.path} has no depth to learn from beside {image.topic}: a sensor_msgs/msg/Image '
            'of encoding 32FC1 (metres) or 16UC1 (millimetres) is wanted, and there are '
            + ', '.join(there))
    depth = min(found, key=lambda topic: (not registered(topic), 'depth' not in topic,
                                          topic.endswith('/depth/image')))
    if not registered(depth):
        message = about[depth]
        raise DatasetError(
            f'{bag.path}: {depth} ({message.width}x{message.height}, frame '
            f'"{message.header.frame_id}") is not registered to {image.topic} '
            f'({size[1]}x{size[0]}, frame "{frame}"): record depth that the driver aligned to it')
    return depth


def _stamps(bag: Reader, connections: list[Connection]) -> dict[str, Stamps]:
    stamps: dict[str, list[int]] = {c.topic: [] for c in connections}
    for topic, message in read_messages(bag, connections):
        stamps[topic].append(stamp_to_ns(message.header.stamp))
    return {topic: np.unique(np.array(found, np.int64)) for topic, found in stamps.items()}


def _rows(path: Path, topics: list[str], stamps: dict[str, Stamps]) -> dict[str, dict[int, int]]:
    """Return topic -> stamp -> row of the arrays, for the stamps that count."""
    chosen = [stamps[topic] for topic in topics]
    if len(topics) == 2:
        images, depths = chosen
        chosen = _pairs(images, depths)
        if not len(chosen[0]):
            apart_s = np.abs(depths[_nearest(images, depths)] - images).min() / 1e9
            raise DatasetError(
                f'{path}: no stamp of {topics[1]} is within {PAIR_TOLERANCE_NS / 1e9} s of one of '
                f'{topics[0]}, the nearest is {apart_s:.3f} s away: record both from one driver, '
                'or synchronise their clocks')
    return {topic: {int(stamp): row for row, stamp in enumerate(found)}
            for topic, found in zip(topics, chosen)}


def _pairs(images: Stamps, depths: Stamps) -> list[Stamps]:
    """Return the stamps of images and depths that are each other's nearest and near enough."""
    partners = depths[_nearest(images, depths)]
    good = images[_nearest(partners, images)] == images
    good &= np.abs(partners - images) <= PAIR_TOLERANCE_NS
    return [images[good], partners[good]]


def _nearest(stamps: Stamps, among: Stamps) -> NDArray[np.intp]:
    """Return the index of the nearest for each; the stamps to choose among are sorted."""
    after = np.searchsorted(among, stamps).clip(max=len(among) - 1)
    before = (after - 1).clip(min=0)
    return np.where(stamps - among[before] <= among[after] - stamps, before, after)
