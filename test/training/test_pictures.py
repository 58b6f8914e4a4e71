# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures are taken evenly from a folder or a bag, as they are, and what is none is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.ros.bags import BagWriter, TYPES
from depth_anything_ros.training.pictures import read_pictures


def message(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        read_pictures(path, 4)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        rows = np.random.default_rng(i).integers(0, 256, (6, 8, 3), np.uint8)
        rows[0, 0] = i, 50, 200  # blue, green, red
        suffix = ('png', 'PNG')[i % 2]
        cv2.imwrite(str(folder / f'{i:03d}.{suffix}'), rows)
    return folder


def test_pictures_are_spread_over_a_folder(tmp_path: Path) -> None:
    folder = pictures(tmp_path / 'many', 10)
    (folder / 'notes.txt').touch()
    found = read_pictures(folder, 4)
    assert [picture[0, 0].tolist() for picture in found] == [
        [200, 50, i] for i in (0, 3, 6, 9)
    ]
    assert len(read_pictures(folder, 10)) == len(read_pictures(folder, 64)) == 10
    assert len(read_pictures(folder, 1)) == 1


def test_pictures_that_are_none_are_named(tmp_path: Path) -> None:
    assert 'nowhere is absent' in message(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    assert 'holds no .png or .jpg' in message(tmp_path / 'empty')
    folder = pictures(tmp_path / 'some', 3)
    (folder / '001.PNG').write_bytes(b'no picture')
    assert '001.PNG is corrupt or no picture' in message(folder)
    assert 'is no ROS 2 bag' in message(broken_bag(tmp_path / 'broken'))
    assert 'has no colour or gray image' in message(bag(tmp_path / 'bag', []))


def broken_bag(folder: Path) -> Path:
    folder.mkdir()
    (folder / 'metadata.yaml').write_text('nothing')
    return folder


def bag(path: Path, reds: list[int]) -> Path:
    """Write a bag with one 8x6 bgr8 image per red value, and a topic that is none."""
    kinds = TYPES.types
    with BagWriter(path) as writer:
        writer.add_topic('/camera/image_raw', 'sensor_msgs/msg/Image')
        writer.add_topic('/odd', 'std_msgs/msg/String')
        text = TYPES.serialize_cdr(kinds['std_msgs/msg/String']('no image'), 'std_msgs/msg/String')
        for i, red in enumerate(reds):
            pixels = np.full((6, 8, 3), (1, 2, red), np.uint8)
            stamp = kinds['builtin_interfaces/msg/Time'](i + 1, 0)
            message = kinds['sensor_msgs/msg/Image'](
                kinds['std_msgs/msg/Header'](stamp, 'camera'), 6, 8, 'bgr8', 0, 24, pixels.ravel()
            )
            data = TYPES.serialize_cdr(message, 'sensor_msgs/msg/Image')
            writer.write('/camera/image_raw', (i + 1) * 10**9, bytes(data))
        writer.write('/odd', 10**9, bytes(text))
    return path


def test_pictures_are_spread_over_a_bag(tmp_path: Path) -> None:
    found = read_pictures(bag(tmp_path / 'bag', [10, 20, 30, 40, 50]), 3)
    assert [picture.shape for picture in found] == [(6, 8, 3)] * 3
    assert [picture[0, 0].tolist() for picture in found] == [[r, 2, 1] for r in (10, 30, 50)]
