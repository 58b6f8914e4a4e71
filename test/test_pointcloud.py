# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cloud packing: positions, colour bits, NaN, stride and flying pixels."""

import numpy as np
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import CloudConfig
from depth_anything_ros.pointcloud import flying_pixels, pack_cloud, ray_tensor

CAMERA = Camera.from_calibration(8, 6, [[10.0, 0, 3], [0, 20.0, 2], [0, 0, 1]])
RAYS = ray_tensor(CAMERA, torch.device('cpu'))
IMAGE = torch.arange(6 * 8 * 3, dtype=torch.uint8).reshape(6, 8, 3)
NO_EDGES = {'edge_threshold': 0.0}


def test_positions_and_colour_by_hand():
    depth_m = torch.full((6, 8), 2.0)
    points = pack_cloud(depth_m, RAYS, IMAGE, None, CloudConfig(**NO_EDGES)).points.numpy()
    # Pixel (v, u) = (4, 5): x = (5 - 3) / 10 * 2, y = (4 - 2) / 20 * 2.
    np.testing.assert_allclose(points[4, 5, :3], [0.4, 0.2, 2.0], rtol=1e-6)
    r, g, b = (int(c) for c in IMAGE[4, 5])
    assert points[4, 5, 3].view(np.uint32) == (r << 16) + (g << 8) + b


def test_invalid_depth_is_nan_in_an_organised_cloud():
    depth_m = torch.full((6, 8), 2.0)
    depth_m[1, 2] = torch.nan
    cloud = pack_cloud(depth_m, RAYS, IMAGE, None, CloudConfig(**NO_EDGES))
    assert not cloud.is_dense
    assert np.isnan(cloud.points[1, 2, :3].numpy()).all()
    assert cloud.points[..., 2].isnan().sum() == 1


def test_unorganised_cloud_keeps_only_valid_points():
    depth_m = torch.full((6, 8), 2.0)
    depth_m[1, 2] = torch.nan
    cloud = pack_cloud(depth_m, RAYS, IMAGE, None, CloudConfig(organized=False, **NO_EDGES))
    assert cloud.is_dense and cloud.points.shape == (1, 47, 4)


def test_stride_and_stddev_field():
    stddev_m = torch.arange(48.0).reshape(6, 8)
    config = CloudConfig(stride=3, stddev=True, **NO_EDGES)
    cloud = pack_cloud(torch.ones(6, 8), RAYS, IMAGE, stddev_m, config)
    assert cloud.fields == ('x', 'y', 'z', 'rgb', 'stddev')
    assert cloud.points.shape == (2, 3, 5)
    assert cloud.points[1, 2, 4] == stddev_m[3, 6]


def test_a_steep_plane_has_no_flying_pixels():
    # Ground seen from 1.5 m with f = 100: 1/z = (v - v0) / 150, up to 25 % per pixel near v0.
    inverse = ((torch.arange(48.0) - 20) / 150)[:, None].expand(48, 32)
    depth_m = torch.where(inverse > 0.02, 1 / inverse, torch.nan)
    visible = depth_m[30:]
    assert not flying_pixels(visible, 0.05).any()


def test_a_ramp_between_two_walls_is_masked_and_the_walls_are_not():
    ramp = torch.tensor([0.5] * 10 + [0.425, 0.35, 0.275] + [0.2] * 11)  # 2 m, ramp, 5 m
    flying = flying_pixels((1 / ramp).expand(16, 24), 0.05)
    assert flying[:, 10:13].all()
    assert not flying[:, :8].any() and not flying[:, 15:].any()


def test_threshold_zero_marks_nothing():
    step = torch.tensor([1.0] * 8 + [9.0] * 8).expand(8, 16)
    assert flying_pixels(step, 0.05).any() and not flying_pixels(step, 0.0).any()
