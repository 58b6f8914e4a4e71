# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of one's own camera, from a folder or a ROS 2 bag, spread evenly over it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.ros.bags import find_colour_image, open_bag, read_messages
from depth_anything_ros.ros.messages import decode_image
from depth_anything_ros.training.bag_data import is_bag
from depth_anything_ros.training.picture_files import list_pictures, read_stored, upright

Picture = NDArray[np.uint8]


def read_pictures(path: Path, most: int) -> list[Picture]:
    """Read so many pictures at most, upright.

    Args:
        path: folder of .png and .jpg files, or a bag; of a bag, the image that the node would take.
        most: how many, 1 or more; of more, first and last and those evenly between.

    Returns:
        HxWx3 uint8 RGB each, in order of name or time.

    Raises:
        DatasetError: there are none, or one is corrupt.
    """
    path = path.expanduser()
    if not path.exists():
        raise DatasetError(f'{path} is absent: give a folder of pictures, or a ROS 2 bag')
    return _of_bag(path, most) if is_bag(path) else _of_folder(path, most)


def _spread(count: int, most: int) -> set[int]:
    return set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist())


def _of_folder(folder: Path, most: int) -> list[Picture]:
    names = list_pictures(folder)
    if not len(names):
        raise DatasetError(f'{folder} holds no .png or .jpg: give a folder of pictures, or a bag')
    return [upright(*read_stored(folder / os.fsdecode(names[i])))
            for i in sorted(_spread(len(names), most))]


def _of_bag(path: Path, most: int) -> list[Picture]:
    pictures = []
    with open_bag(path) as bag:
        connection, _ = find_colour_image(bag)
        wanted = _spread(connection.msgcount, most)
        for i, (topic, message) in enumerate(read_messages(bag, [connection])):
            if i in wanted:
                try:
                    pictures.append(np.array(decode_image(message)))
                except BadFrameError as error:
                    raise DatasetError(
                        f'{path}: image {i} of {topic} is corrupt ({error}): cut that part out, '
                        'or record it again'
                    ) from error
    return pictures
