# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A depth camera as a source: its anchors, its sigma, and its own pixels in what is published."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig, with_values
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.depth_image import DepthImage, keep_measured
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.pipeline import DepthPipeline, Outputs
from helpers import (
    edges,
    ExactPredictor,
    SCENE_CAMERA,
    scene_depth,
    scene_depth_image,
    scene_image,
    scene_lidar,
    SCENE_T_CAMERA_LIDAR,
)

CONFIG = ScaleConfig()
EVERYTHING = Outputs(depth=True, points=True, stddev=True)
TURN = cv2.Rodrigues(np.array([0.05, -0.1, 0.02]))[0]


IDENTITY = np.eye(3)


def pose(R=IDENTITY, t=(0.0, 0.0, 0.0)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = R, t
    return matrix


def measured(camera, T):
    """Return what an ideal depth camera that stands elsewhere sees of the scene."""
    # March along each ray: independent of how the code goes from one camera to the other.
    rays = camera.optical_rays() @ T[:3, :3].T
    far = np.geomspace(0.4, 24.0, 800)
    depth = np.full(camera.size, np.nan)
    for z in far[::-1]:
        at = rays * z + T[:3, 3]
        with np.errstate(divide='ignore', invalid='ignore'):
            behind = at[..., 2] >= scene_depth(at[..., 0] / at[..., 2], at[..., 1] / at[..., 2])
        depth = np.where(behind, z, depth)
    return DepthImage(depth.astype(np.float32), camera, T)


def assert_on_the_scene(anchors, rtol=0.02):
    K = SCENE_CAMERA.K
    x, y = (anchors.u - K[0, 2]) / K[0, 0], (anchors.v - K[1, 2]) / K[1, 1]
    off = np.abs(anchors.z_m / scene_depth(x, y) - 1)
    assert np.quantile(off, 0.98) < rtol


@pytest.mark.parametrize('size', [(640, 480), (320, 240), (424, 240), (1280, 720)])
def test_anchors_of_any_size_of_depth_image_lie_on_the_scene(size):
    camera = SCENE_CAMERA.scaled(*size)
    image = DepthImage(scene_depth_image(camera).astype(np.float32), camera, pose())
    anchors = image.anchors(SCENE_CAMERA, CONFIG)
    assert 1000 < len(anchors) <= 6000
    assert_on_the_scene(anchors, 0.005)
    # All over the image, not in a corner of it.
    assert np.ptp(anchors.u) > 600 and np.ptp(anchors.v) > 440


@pytest.mark.parametrize(
    'T', [pose(t=(0.06, 0.0, 0.01)), pose(TURN), pose(TURN, (0.1, -0.05, 0.0))]
)
def test_anchors_of_a_depth_camera_that_stands_elsewhere(T):
    camera = SCENE_CAMERA.scaled(160, 120)
    anchors = measured(camera, T).anchors(SCENE_CAMERA, CONFIG)
    assert len(anchors) > 1000
    assert_on_the_scene(anchors, 0.03)


def test_sigma_is_what_the_parameters_say_by_hand():
    camera = SCENE_CAMERA
    wall = DepthImage(np.full(camera.size, 4.0, np.float32), camera, pose())
    stereo = wall.anchors(camera, ScaleConfig(depth_sigma=0.004, depth_sigma_square=0.002))
    tof = wall.anchors(camera, ScaleConfig(depth_sigma=0.02, depth_sigma_square=0.0))
    np.testing.assert_allclose(stereo.sigma, (0.004 + 0.002 * 16) / 4, rtol=1e-5)
    np.testing.assert_allclose(tof.sigma, 0.005, rtol=1e-5)


def test_neither_holes_nor_edges_nor_what_is_out_of_range_anchors():
    depth_m = np.full((480, 640), 3.0, np.float32)
    depth_m[:, 320:] = 6.0
    depth_m[100:200, 100:200] = np.nan
    depth_m[300:, 500:] = 0.2
    depth_m[300:, :100] = 100.0
    depth_m[0, 0] = np.inf
    depth_m[5, 5] = 0.0
    depth_m[9, 9] = -2.0
    anchors = DepthImage(depth_m, SCENE_CAMERA, pose()).anchors(SCENE_CAMERA, CONFIG)
    assert set(np.round(anchors.z_m, 4)) == {3.0, 6.0}
    assert not (np.abs(anchors.u - 319.5) < 1).any()
    hole = (anchors.u > 98.5) & (anchors.u < 200.5) & (anchors.v > 98.5) & (anchors.v < 200.5)
    assert not hole.any()


def test_a_blind_depth_camera_has_no_anchors():
    blind = DepthImage(np.full((48, 64), np.nan, np.float32), SCENE_CAMERA.scaled(64, 48), pose())
    assert len(blind.anchors(SCENE_CAMERA, CONFIG)) == 0


def test_a_clean_edge_is_kept_and_a_flying_pixel_is_not():
    depth_m = np.full((48, 64), 3.0, np.float32)
    depth_m[:, 32:] = 6.0
    camera = SCENE_CAMERA.scaled(64, 48)
    kept_m = DepthImage(depth_m, camera, pose()).registered(camera, CONFIG)
    np.testing.assert_array_equal(kept_m, depth_m)
    depth_m[:, 32] = 4.2  # a column that is on neither
    kept_m = DepthImage(depth_m, camera, pose()).registered(camera, CONFIG)
    assert np.isnan(kept_m[:, 32]).all()
    np.testing.assert_array_equal(np.delete(kept_m, 32, 1), np.delete(depth_m, 32, 1))


@pytest.mark.parametrize('width', [640, 320, 1280])
def test_registered_pixels_are_those_of_the_image(width):
    camera = SCENE_CAMERA.scaled(width, width * 3 // 4)
    image = DepthImage(scene_depth_image(camera).astype(np.float32), camera, pose())
    there_m = image.registered(SCENE_CAMERA, CONFIG)
    truth_m = scene_depth_image()
    inner = ~edges(truth_m, 4)
    seen = np.isfinite(there_m)
    assert seen[inner].mean() > 0.98
    np.testing.assert_allclose(there_m[seen & inner], truth_m[seen & inner], rtol=0.02)


def test_a_turned_depth_camera_is_registered_with_depth_along_the_image_s_axis():
    camera = SCENE_CAMERA.scaled(160, 120)
    there_m = measured(camera, pose(TURN)).registered(SCENE_CAMERA, CONFIG)
    truth_m = scene_depth_image()
    seen = np.isfinite(there_m) & ~edges(truth_m, 8)
    assert seen.mean() > 0.5
    assert np.quantile(np.abs(there_m[seen] / truth_m[seen] - 1), 0.95) < 0.02  # nearest of 160


def test_depth_registered_to_a_distorted_image_is_registered_to_the_rectified_one():
    K, D = SCENE_CAMERA.K, [-0.2, 0.05, 0.001, -0.001, 0.0]
    distorted = Camera.from_calibration(640, 480, K, D, P=np.hstack([K, np.zeros((3, 1))]))
    rays = distorted.optical_rays()
    depth_m = scene_depth(rays[..., 0], rays[..., 1]).astype(np.float32)
    image = DepthImage(depth_m, distorted, pose())
    rectified = distorted.rectified()
    truth_m = scene_depth_image(rectified)
    there_m = image.registered(rectified, CONFIG)
    seen = np.isfinite(there_m) & ~edges(truth_m, 4)
    assert seen.mean() > 0.8
    np.testing.assert_allclose(there_m[seen], truth_m[seen], rtol=0.02)
    assert_on_the_scene(image.anchors(rectified, CONFIG), 0.005)


def test_a_depth_camera_that_stands_apart_is_not_registered():
    apart = DepthImage(np.ones((480, 640), np.float32), SCENE_CAMERA, pose(t=(0.05, 0, 0)))
    assert apart.registered(SCENE_CAMERA, CONFIG) is None


def test_own_pixels_are_kept_and_holes_filled_without_a_step():
    config = ScaleConfig(depth_sigma=0.01, depth_sigma_square=0.0)
    own_m = np.full((60, 80), 2.0, np.float32)
    own_m[:, 40:] = np.nan
    depth_m, stddev_m = torch.full((60, 80), 2.2), torch.full((60, 80), 0.2)
    fused_m, sigma = keep_measured(depth_m, stddev_m, own_m, config)
    # Five pixels from the hole and farther, the camera's own, to the bit of float32.
    np.testing.assert_allclose(fused_m[:, :35], 2.0, rtol=1e-6)
    np.testing.assert_allclose(sigma[:, :35], 0.01, rtol=1e-6)
    np.testing.assert_allclose(fused_m[:, 40:], 2.2, rtol=1e-6)
    np.testing.assert_allclose(sigma[:, 40:], 0.2, rtol=1e-6)
    # At the hole by the two variances: (2 / .01^2 + w 2.2 / .2^2) / (1 / .01^2 + w / .2^2).
    assert 2.0 < float(fused_m[30, 39]) < 2.001


def test_where_only_one_of_the_two_says_something_that_is_taken():
    own_m = np.full((20, 20), np.nan, np.float32)
    own_m[:10] = 3.0
    depth_m, stddev_m = torch.full((20, 20), 4.0), torch.full((20, 20), 0.5)
    depth_m[:, :10] = stddev_m[:, :10] = torch.nan
    fused_m, sigma = keep_measured(depth_m, stddev_m, own_m, CONFIG)
    assert torch.isnan(fused_m[10:, :10]).all() and torch.isnan(sigma[10:, :10]).all()
    np.testing.assert_allclose(fused_m[:10, :10], 3.0, rtol=1e-6)
    np.testing.assert_allclose(fused_m[10:, 10:], 4.0, rtol=1e-6)


def holey(depth_m, seed=0):
    """Return a depth image with three tenths of it in holes of a hand's size."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=depth_m.shape), (0, 0), 15)
    return np.where(noise < np.quantile(noise, 0.3), np.nan, depth_m).astype(np.float32)


def process(source, config=Config(), predictor=None, outputs=EVERYTHING, **other):
    pipeline = DepthPipeline(predictor or ExactPredictor(), config)
    return pipeline.process(
        scene_image(), SCENE_CAMERA, sources=[source], outputs=outputs, **other
    )


def test_a_depth_camera_alone_gives_metres_and_its_holes_are_filled():
    truth_m = scene_depth_image()
    hole = np.isnan(seen_m := holey(truth_m))
    frame = process(DepthImage(seen_m, SCENE_CAMERA, pose()))
    assert (frame.fit.state, frame.fit.method) == (State.FITTED, 'depth')
    inner = ~edges(truth_m, 6)
    off = np.abs(frame.depth / truth_m - 1)
    assert np.isfinite(frame.depth[inner]).mean() > 0.99
    assert np.nanmedian(off[hole & inner]) < 0.005
    far_from_holes = cv2.erode((~hole).astype(np.uint8), np.ones((13, 13))) > 0
    assert np.nanmax(off[far_from_holes & inner]) < 1e-3


def test_without_keep_measured_the_network_draws_all_of_it():
    truth_m = scene_depth_image()
    spot = truth_m.copy()
    spot[300:340, 300:340] = 1.0  # of which the network knows nothing
    image = DepthImage(spot.astype(np.float32), SCENE_CAMERA, pose())
    own = process(image)
    network = process(image, with_values(Config(), {'depth.keep_measured': False}))
    assert own.depth[320, 320] == pytest.approx(1.0, rel=1e-3)
    assert network.depth[320, 320] != pytest.approx(1.0, rel=0.01)


def test_method_decides_whether_a_depth_camera_is_asked():
    image = DepthImage(scene_depth_image().astype(np.float32), SCENE_CAMERA, pose())
    for method in ('lidar', 'none', 'camera_height'):
        frame = process(image, with_values(Config(), {'scale.method': method}))
        assert frame.fit.state is State.UNANCHORED and frame.depth is None


def test_the_depth_camera_s_own_depth_is_not_published_as_metres_beyond_the_limits():
    depth_m = scene_depth_image().astype(np.float32)
    image = DepthImage(depth_m, SCENE_CAMERA, pose())
    frame = process(image, with_values(Config(), {'depth.max': 10.0}))
    assert np.nanmax(frame.depth) <= 10.0
    assert np.isnan(frame.depth[20, 20])


@pytest.mark.parametrize('broken', [np.nan, 0.0, -1.0, np.inf, 1e30, 1e-30])
def test_no_depth_image_breaks_a_frame(broken):
    image = DepthImage(np.full((480, 640), broken, np.float32), SCENE_CAMERA, pose())
    frame = process(image)
    assert frame.fit.state is State.UNANCHORED and frame.depth is None


def test_a_depth_camera_beside_a_lidar_that_contradicts_it_is_named_and_not_kept():
    points, ring = scene_lidar()
    image = DepthImage((1.3 * scene_depth_image()).astype(np.float32), SCENE_CAMERA, pose())
    sweep = SensorPoints(points, 0, 'lidar', ring=ring)
    frame = process(image, points=sweep, T_camera_sensor=SCENE_T_CAMERA_LIDAR)
    assert frame.fit.method == 'lidar'
    assert 'depth says +30% in depth' in frame.fit.reason
    truth_m = scene_depth_image()
    assert np.nanmedian(np.abs(frame.depth / truth_m - 1)) < 0.01


def test_a_camera_replaced_is_looked_up_anew():
    wide = replace(SCENE_CAMERA, K=SCENE_CAMERA.K * np.array([[0.8], [0.8], [1.0]]))
    for camera in (SCENE_CAMERA, wide, SCENE_CAMERA):
        image = DepthImage(scene_depth_image(camera).astype(np.float32), camera, pose())
        assert_on_the_scene(image.anchors(SCENE_CAMERA, CONFIG), 0.005)
