# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded frames: rings of an ordered scan, KITTI's chain of transforms, what is missing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.frames import load_frames, ring_of_ordered_scan

REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data'


def turn(count: int) -> np.ndarray:
    azimuth = np.linspace(0.01, 2 * np.pi - 0.01, count)
    xyz = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(count)], axis=1)
    return xyz.astype(np.float32)


def test_a_ring_starts_where_the_azimuth_passes_forward():
    ring = ring_of_ordered_scan(np.concatenate([turn(10), turn(7), turn(5)]))
    assert ring.tolist() == [0] * 10 + [1] * 7 + [2] * 5


def kitti(folder: Path) -> Path:
    cv2.imwrite(str(folder / '7.png'), np.full((4, 6, 3), (1, 2, 3), np.uint8))
    np.array([[10, 0, 0, 0.5]], dtype=np.float32).tofile(folder / '7.bin')
    # Focal length 100 px; camera 2 stands 0.06 m to the left of camera 0: P2[0, 3] = 100 * 0.06.
    (folder / '7.txt').write_text(
        'P2: 100 0 3 6 0 100 2 0 0 0 1 0\n'
        'R0_rect: 1 0 0 0 1 0 0 0 1\n'
        'Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 -0.3\n'
    )
    return folder


def test_kittis_transforms_are_chained(tmp_path):
    (frame,) = load_frames(kitti(tmp_path))
    assert frame.name == '7'
    assert frame.image_rgb[0, 0].tolist() == [3, 2, 1]  # the file stores BGR
    ahead = frame.T_camera_sensor @ [10, 0, 0, 1]
    np.testing.assert_allclose(ahead, [0.06, 0, 9.7, 1])


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DatasetError, match='holds no frames'):
        load_frames(tmp_path)
    (kitti(tmp_path) / '7.txt').unlink()
    with pytest.raises(DatasetError, match='7.txt is missing'):
        load_frames(tmp_path)


@pytest.mark.parametrize('name, frames, rings', [('kitti', 2, 64), ('nuscenes', 6, 32)])
def test_the_real_frames_have_their_sensors_rings(name, frames, rings):
    if not (REAL / name).is_dir():
        pytest.skip(f'../shared/data/{name} is not here')
    loaded = load_frames(REAL / name)
    assert len(loaded) == frames
    assert all(len(np.unique(frame.points.ring)) == rings for frame in loaded)
