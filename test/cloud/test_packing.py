# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cloud packing: positions, colour bits, NaN, stride, frames."""

import numpy as np

from depth_anything_ros.camera import Camera
from depth_anything_ros.cloud.packing import pack_cloud
from depth_anything_ros.cloud.viewpoint import Viewpoint

CAMERA = Camera.from_calibration(8, 6, [[10.0, 0, 3], [0, 20.0, 2], [0, 0, 1]])
VIEW = Viewpoint.of(CAMERA, 1)
IMAGE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def depth(fill: float = 2.0) -> np.ndarray:
    return np.full((6, 8), fill, np.float32)


def test_positions_and_colour_by_hand():
    points = pack_cloud(depth(), VIEW, IMAGE, None, organized=True).points
    # Pixel (v, u) = (4, 5): x = (5 - 3) / 10 * 2, y = (4 - 2) / 20 * 2.
    np.testing.assert_allclose(points[4, 5, :3], [0.4, 0.2, 2.0], rtol=1e-6)
    r, g, b = (int(c) for c in IMAGE[4, 5])
    assert points[4, 5, 3].view(np.uint32) == (r << 16) + (g << 8) + b


def test_invalid_depth_is_nan_in_an_organised_cloud():
    depth_m = depth()
    depth_m[1, 2] = np.nan
    cloud = pack_cloud(depth_m, VIEW, IMAGE, None, organized=True)
    assert not cloud.is_dense
    assert np.isnan(cloud.points[1, 2, :3]).all()
    assert np.isnan(cloud.points[..., 2]).sum() == 1


def test_unorganised_cloud_keeps_only_valid_points():
    depth_m = depth()
    depth_m[1, 2] = np.nan
    cloud = pack_cloud(depth_m, VIEW, IMAGE, None, organized=False)
    assert cloud.is_dense and cloud.points.shape == (1, 47, 4)
    np.testing.assert_allclose(cloud.points[0, 10, :2], [(3 - 3) / 10 * 2, (1 - 2) / 20 * 2])


def test_stride_and_stddev_field():
    thin = (slice(None, None, 3),) * 2
    stddev_m = np.arange(48, dtype=np.float32).reshape(6, 8)
    cloud = pack_cloud(
        depth(1.0)[thin], Viewpoint.of(CAMERA, 3), IMAGE[thin], stddev_m[thin], organized=True
    )
    assert cloud.fields == ('x', 'y', 'z', 'rgb', 'stddev')
    assert cloud.points.shape == (2, 3, 5)
    assert cloud.points[1, 2, 4] == stddev_m[3, 6]
    np.testing.assert_allclose(cloud.points[1, 2, :3], [(6 - 3) / 10, (3 - 2) / 20, 1], rtol=1e-6)
