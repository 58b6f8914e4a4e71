# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One point a voxel: against a reference that goes through all points one by one."""

from collections import defaultdict
import math

import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.cloud.packing import pack_voxels
from depth_anything_ros.cloud.viewpoint import Viewpoint
from depth_anything_ros.cloud.voxels import VoxelGrid
from depth_anything_ros.poses import pose_to_matrix

CAMERA = Camera.from_calibration(48, 36, [[40.0, 0, 23.5], [0, 42.0, 17], [0, 0, 1]])


def room(seed=0):
    """Return a room's depth in metres with holes, and standard deviations."""
    rng = np.random.default_rng(seed)
    rays = CAMERA.rays()
    z_m = np.minimum(6.0, 1.5 / np.maximum(np.abs(rays[..., 0]), 1e-6))
    z_m = np.minimum(z_m, 1.2 / np.maximum(np.abs(rays[..., 1]), 1e-6))
    z_m = (z_m * rng.uniform(0.97, 1.03, z_m.shape)).astype(np.float32)
    z_m[rng.random(z_m.shape) < 0.2] = np.nan
    return z_m, rng.uniform(0.01, 0.3, z_m.shape).astype(np.float32)


def one_by_one(z_m, view, stddev_m, size_m):
    """Return voxel -> (mean, stddev, pixels), counted from the camera's voxel, in doubles."""
    corner = np.floor(view.origin_m / size_m)
    inside = (view.origin_m - corner * size_m).astype(np.float32)
    found = defaultdict(list)
    for row, column in np.argwhere(np.isfinite(z_m)):
        point = view.directions[:, row, column] * z_m[row, column] + inside
        voxel = tuple(np.floor(point * np.float32(1 / size_m)).astype(int))
        sigma = float(stddev_m[row, column])
        found[voxel].append((point.astype(float), sigma, row * z_m.shape[1] + column))
    means = {}
    for voxel, members in found.items():
        weights = [1 / sigma**2 for _, sigma, _ in members]
        mean = sum(w * p for w, (p, _, _) in zip(weights, members)) / sum(weights)
        variance = sum(w * s**2 for w, (_, s, _) in zip(weights, members)) / sum(weights)
        pixels = {pixel for _, _, pixel in members}
        means[voxel] = (mean + corner * size_m, math.sqrt(variance), pixels)
    return means


def voxel_means(z_m, view, stddev_m, size_m):
    grid = VoxelGrid(*z_m.shape)
    other = np.full(z_m.shape, 1.0, np.float32)
    grid.means(other, view, other, 0.3)  # of which nothing may be left
    return grid.means(z_m, view, stddev_m, size_m)


VIEWS = {
    'optical': Viewpoint.of(CAMERA, 1),
    'base_link': Viewpoint.of(
        CAMERA, 1, 'base_link', pose_to_matrix([0.31, -0.07, 1.22, -0.5, 0.5, -0.5, 0.5])
    ),
    'map': Viewpoint.of(CAMERA, 1, 'map', pose_to_matrix([-731.2, 218.6, 3.4, 0.6, 0, 0.8, 0])),
}


@pytest.mark.parametrize('name', VIEWS)
@pytest.mark.parametrize('size_m', [0.05, 0.2, 1.7, 50.0])
def test_every_voxel_has_its_weighted_mean_and_no_other_point_is_there(name, size_m):
    view, (z_m, stddev_m) = VIEWS[name], room()
    voxels = voxel_means(z_m, view, stddev_m, size_m)
    expected = one_by_one(z_m, view, stddev_m, size_m)
    assert len(voxels.xyz_m) == len(expected)
    by_pixel = {pixel: mean for mean in expected.values() for pixel in mean[2]}
    seen = set()
    for xyz_m, pixel, stddev in zip(voxels.xyz_m, voxels.pixel, voxels.stddev_m):
        mean, sigma, pixels = by_pixel[int(pixel)]
        np.testing.assert_allclose(xyz_m, mean, atol=1e-4)  # of float32 sums
        assert stddev == pytest.approx(sigma, rel=1e-4)
        assert not pixels & seen
        seen |= pixels
    assert len(seen) == np.isfinite(z_m).sum()


def test_two_points_by_hand():
    view = Viewpoint.of(Camera.from_calibration(2, 1, [[100.0, 0, 0], [0, 100, 0], [0, 0, 1]]), 1)
    # (0, 0, 2) with sigma .1 and (.0204, 0, 2.04) with sigma .2: weights 100 and 25.
    z_m = np.array([[2.0, 2.04]], np.float32)
    stddev_m = np.array([[0.1, 0.2]], np.float32)
    voxels = voxel_means(z_m, view, stddev_m, 0.25)
    np.testing.assert_allclose(voxels.xyz_m, [[0.00408, 0, 2.008]], atol=1e-6)
    assert voxels.stddev_m[0] == pytest.approx(math.sqrt((100 * 0.01 + 25 * 0.04) / 125))


def test_what_is_not_known_to_be_sure_counts_for_nothing_beside_what_is():
    view = Viewpoint.of(Camera.from_calibration(2, 1, [[100.0, 0, 0], [0, 100, 0], [0, 0, 1]]), 1)
    z_m = np.array([[2.0, 2.04]], np.float32)
    voxels = voxel_means(z_m, view, np.array([[0.1, np.nan]], np.float32), 0.25)
    np.testing.assert_allclose(voxels.xyz_m, [[0, 0, 2]], atol=1e-6)
    nothing = voxel_means(z_m, view, np.full((1, 2), np.nan, np.float32), 0.25)
    np.testing.assert_allclose(nothing.xyz_m, [[0.0102, 0, 2.02]], atol=1e-6)
    assert np.isnan(nothing.stddev_m).all()


def test_no_depth_at_all_is_an_empty_cloud():
    z_m = np.full(CAMERA.size, np.nan, np.float32)
    image = np.zeros((*CAMERA.size, 3), np.uint8)
    cloud = pack_voxels(z_m, VIEWS['optical'], image, z_m, True, 0.1, VoxelGrid(*z_m.shape))
    assert cloud.points.shape == (1, 0, 5) and cloud.is_dense


def test_a_voxel_has_the_colour_of_one_of_its_pixels():
    z_m, stddev_m = room()
    image = np.random.default_rng(1).integers(0, 256, (*CAMERA.size, 3), np.uint8)
    cloud = pack_voxels(z_m, VIEWS['base_link'], image, stddev_m, False, 0.2, VoxelGrid(*z_m.shape))
    assert cloud.fields == ('x', 'y', 'z', 'rgb') and cloud.frame == 'base_link'
    pixel = voxel_means(z_m, VIEWS['base_link'], stddev_m, 0.2).pixel
    r, g, b = image.reshape(-1, 3)[pixel].T.astype(np.uint32)
    np.testing.assert_array_equal(cloud.points[0, :, 3].view(np.uint32), (r << 16) + (g << 8) + b)


def test_the_farthest_points_that_are_allowed_are_not_mistaken_for_near_ones():
    # 64 m at 8 mm: the x of this ray is 4 times its depth, 32,000 voxels away.
    camera = Camera.from_calibration(2, 1, [[1.0, 0, -3], [0, 1, 0], [0, 0, 1]])
    z_m = np.array([[63.99, 63.99]], np.float32)
    voxels = voxel_means(z_m, Viewpoint.of(camera, 1), np.ones((1, 2), np.float32), 0.008)
    assert sorted(voxels.xyz_m[:, 0].tolist()) == pytest.approx([3 * 63.99, 4 * 63.99])
