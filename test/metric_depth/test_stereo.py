# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stereo pairs of a textured scene of known depth, and pairs that are none."""

import math

import cv2
import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.stereo import pose_from_calibration, StereoMatcher
from depth_anything_ros.pipeline import DepthPipeline
from helpers import (
    ExactPredictor,
    SCENE_CAMERA,
    scene_depth,
    scene_depth_image,
    scene_lidar,
    SCENE_T_CAMERA_LIDAR,
    textured_view,
)

CONFIG = ScaleConfig()
BASELINE_M = 0.3
# Shrunk to 320 pixels the focal length is 250: a disparity is 75 px m / depth.
PX_M = 250 * BASELINE_M


def placed(x=0.0, y=0.0, z=0.0, turn_rad=(0.0, 0.0, 0.0)):
    """Return a pose with a translation and a rotation vector."""
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array(turn_rad))[0]
    T[:3, 3] = x, y, z
    return T


BESIDE = placed(BASELINE_M)


def seen(first=SCENE_CAMERA, second=SCENE_CAMERA, T=BESIDE, **view):
    """Return the anchors of a pair in the rectified image of the first camera."""
    images = textured_view(first, **view)[0], textured_view(second, T, **view)[0]
    matcher = StereoMatcher(first, second, T)
    return matcher.match(*images, CONFIG).anchors(first.rectified(), CONFIG)


def errors(anchors, camera=SCENE_CAMERA):
    """Return the log of depth over true depth at sub-pixel places of a pinhole camera."""
    rays = np.stack([anchors.u, anchors.v, np.ones(len(anchors))], axis=1)
    rays = rays @ np.linalg.inv(camera.K).T @ camera.R  # to the optical axes, z not 1
    x, y = (rays[:, :2] / rays[:, 2:]).T
    in_image = scene_depth(x, y) * np.linalg.norm(rays, axis=1)
    in_image /= np.linalg.norm(rays / rays[:, 2:], axis=1) * rays[:, 2]
    # In the rectified image depth is along its own axis: z / (ray's third component), per unit.
    along = scene_depth(x, y) / rays[:, 2]
    return np.log(anchors.z_m / along)


def check_right(anchors, camera=SCENE_CAMERA, rough=1.0):
    """Assert that anchors are everywhere, right, and as sure as they are right."""
    assert 1000 < len(anchors) <= 2000
    cells = np.histogram2d(anchors.v, anchors.u, (6, 8), ((0, 480), (0, 640)))[0]
    assert (cells > 2).mean() > 0.85
    assert (anchors.ring == -1).all()
    off = np.abs(errors(anchors, camera))
    assert np.median(off) < 0.012 * rough
    assert np.mean(off < 0.04 * rough) > 0.93
    within = np.mean(off < 1.645 * anchors.sigma)
    assert 0.85 < within <= 1.0, within


def test_depth_of_a_known_scene():
    check_right(seen())


@pytest.mark.parametrize('T', [placed(-BASELINE_M), placed(y=BASELINE_M), placed(y=-BASELINE_M)])
def test_second_camera_may_stand_on_any_side(T):
    check_right(seen(T=T), rough=1.5)


def test_second_camera_may_be_another_one():
    small = Camera.from_calibration(424, 240, [[300.0, 0, 210], [0, 305.0, 121], [0, 0, 1]])
    check_right(seen(second=small), rough=1.5)


def test_distorted_and_turned_cameras_see_what_rectified_ones_see():
    K = [[480.0, 0, 317], [0, 484.0, 243], [0, 0, 1]]
    D = (-0.2, 0.05, 0.001, -0.002, 0.0)
    R = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
    P = np.hstack([[[430.0, 0, 320], [0, 430.0, 240], [0, 0, 1]], np.zeros((3, 1))])
    first = Camera.from_calibration(640, 480, K, D, R=R, P=P)
    T = placed(BASELINE_M, 0.01, -0.02, (0.01, -0.05, 0.03))
    second = Camera.from_calibration(640, 480, K, (-0.15, 0.02, 0.0, 0.0, 0.0))
    anchors = seen(first, second, T)
    check_right(anchors, first.rectified(), rough=1.5)
    # The fisheye model goes the same way.
    D = (-0.02, 0.004, 0.0, 0.0)
    fisheye = Camera.from_calibration(640, 480, K, D, 'equidistant')
    check_right(seen(fisheye, fisheye, T), fisheye.rectified(), rough=2)


WALL_CAMERA = Camera(640, 480, np.array([[520.0, 0, 319.5], [0, 520.0, 239.5], [0, 0, 1]]))


def noise(shift_px, seed):
    """Return a 640x480 part of a texture, moved to the left."""
    texture = np.random.default_rng(seed).integers(0, 255, (480, 900)).astype(np.uint8)
    texture = cv2.GaussianBlur(texture, (0, 0), 2.0)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    u, v = np.meshgrid(np.arange(640.0, dtype=np.float32), np.arange(480.0, dtype=np.float32))
    return cv2.remap(texture, u + np.float32(120 + shift_px), v, cv2.INTER_CUBIC)


def wall(z_m, baseline_m=0.12):
    """Return the anchors on a wall of noise that fills both images."""
    images = [noise(shift_px, 1) for shift_px in (0.0, 520 * baseline_m / z_m)]
    matcher = StereoMatcher(WALL_CAMERA, WALL_CAMERA, placed(baseline_m))
    return matcher.match(*images, CONFIG).anchors(WALL_CAMERA, CONFIG)


def test_sigma_grows_with_depth():
    # 260 px * 0.12 m = 31.2 px m, and a tenth of a pixel is known: at 4 m 1.28 %, twice at 8 m.
    for z_m in (2.0, 4.0, 8.0, 16.0):
        anchors = wall(z_m)
        assert np.median(anchors.z_m) == pytest.approx(z_m, rel=0.01)
        assert np.median(anchors.sigma) == pytest.approx(0.1 * z_m / 31.2, rel=0.1)
    # Half of the baseline, twice as unsure.
    assert np.median(wall(4.0, 0.06).sigma) == pytest.approx(0.1 * 4.0 / 15.6, rel=0.1)


def test_out_of_reach_is_left_out():
    # 64 disparities end at 31.2 / 64 = 0.49 m; a third of a pixel, at 94 m, is not known at all.
    assert np.median(wall(0.52).z_m) == pytest.approx(0.52, rel=0.01)
    for z_m in (0.3, 0.4, 150.0):
        with pytest.raises(BadFrameError, match='match hardly anywhere'):
            wall(z_m)
    near = ScaleConfig(min_range=8.0, max_range=12.0)
    images = [textured_view(SCENE_CAMERA, T)[0] for T in (np.eye(4), BESIDE)]
    points = StereoMatcher(SCENE_CAMERA, SCENE_CAMERA, BESIDE).match(*images, near)
    anchors = points.anchors(SCENE_CAMERA, near)
    rays = np.stack([anchors.u - 322, (anchors.v - 236) / 1.02, np.full(len(anchors), 500.0)])
    range_m = anchors.z_m * np.linalg.norm(rays / 500, axis=0)
    assert len(anchors) > 100 and (range_m > 7.99).all() and (range_m < 12.01).all()


def test_no_anchors_without_texture():
    bare = (-1.0, 4.0, -6.0, -1.0)
    anchors = seen(plain=bare)
    x = (anchors.u - 322) / 500 * 18
    y = (anchors.v - 236) / 510 * 18
    margin = 18 / 500 * 16  # a block reaches beyond the edge
    left, right, top, bottom = bare
    inside = (x > left + margin) & (x < right - margin) & (y > top + margin) & (y < bottom - margin)
    assert np.count_nonzero(inside) == 0


def test_no_anchors_where_one_camera_does_not_see():
    # A board at 1.5 m before a wall at 8 m. In the second image it lies 62.4 / 1.5 = 41.6 pixels
    # to the left, and hides the wall where the first one sees it from 34 pixels beside the board.
    images = []
    for board_px, wall_px in ((0.0, 0.0), (62.4 / 1.5, 62.4 / 8)):
        image, left = noise(wall_px, 2), round(300 - board_px)
        image[100:400, left : left + 200] = noise(board_px, 3)[100:400, left : left + 200]
        images.append(image)
    matcher = StereoMatcher(WALL_CAMERA, WALL_CAMERA, placed(0.12))
    anchors = matcher.match(*images, CONFIG).anchors(WALL_CAMERA, CONFIG)
    rows = (anchors.v > 120) & (anchors.v < 380)

    def between(low, high):
        return rows & (anchors.u > low) & (anchors.u < high)

    hidden, wall_beside, board = between(268, 286), between(222, 240), between(320, 480)
    # Half a block, 13 pixels of this image, is bridged on either side.
    assert np.count_nonzero(hidden) <= 0.1 * np.count_nonzero(wall_beside)
    assert np.median(anchors.z_m[wall_beside]) == pytest.approx(8.0, rel=0.02)
    assert np.median(anchors.z_m[board]) == pytest.approx(1.5, rel=0.01)
    assert np.count_nonzero(wall_beside) > 10 and np.count_nonzero(board) > 100


def refused(first=SCENE_CAMERA, second=SCENE_CAMERA, T=BESIDE):
    """Return why a pair is none."""
    with pytest.raises(BadFrameError) as caught:
        StereoMatcher(first, second, T)
    return caught.value.reason


@pytest.mark.parametrize(
    'T, reason',
    [
        (placed(), 'stereo_baseline'),
        (placed(math.nan), 'stereo_baseline'),
        (placed(11.0), 'stereo_baseline'),
        (placed(z=0.3), 'stereo_geometry'),
        (placed(0.3, turn_rad=(0.0, 1.2, 0.0)), 'stereo_geometry'),
        (placed(0.3, turn_rad=(0.0, math.pi, 0.0)), 'stereo_geometry'),
    ],
)
def test_what_is_no_pair_is_refused(T, reason):
    assert refused(T=T) == reason


def test_pair_must_be_calibrated_and_match():
    assert refused(second=Camera.uncalibrated(640, 480)) == 'stereo_uncalibrated'
    assert refused(first=Camera.uncalibrated(640, 480)) == 'stereo_uncalibrated'
    matcher = StereoMatcher(SCENE_CAMERA, SCENE_CAMERA, BESIDE)
    dark = np.zeros((480, 640, 3), np.uint8)
    image = np.repeat(textured_view(SCENE_CAMERA)[0][..., None], 3, axis=2)
    for pair in ((dark, dark), (image, dark), (dark, image)):
        with pytest.raises(BadFrameError, match='lens is covered') as caught:
            matcher.match(*pair, CONFIG)
        assert caught.value.reason == 'stereo_no_match'


def calibrated(Tx=0.0, Ty=0.0, turn_rad=(0.0, 0.0, 0.0), D=(), rectified=False):
    """Return a camera with the numbers of a camera_info of a stereo pair."""
    R = cv2.Rodrigues(np.array(turn_rad))[0]
    P = [[400.0, 0, 320, Tx], [0, 410.0, 240, Ty], [0, 0, 1, 0]]
    K = [[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]]
    return Camera.from_calibration(640, 480, K, D, R=R, P=P, rectified=rectified)


@pytest.mark.parametrize('rectified', [False, True])
@pytest.mark.parametrize('D', [(), (-0.1, 0.0, 0.0, 0.0)])
def test_pose_from_both_camera_infos(D, rectified):
    kind = {'D': D, 'rectified': rectified}
    # P[3] = -fx * baseline: the second camera is 0.12 m to the right.
    T = pose_from_calibration(calibrated(**kind), calibrated(-48.0, **kind))
    np.testing.assert_allclose(T, placed(0.12), atol=1e-12)
    np.testing.assert_allclose(
        pose_from_calibration(calibrated(-48.0, **kind), calibrated(**kind)), placed(-0.12),
        atol=1e-12,
    )
    np.testing.assert_allclose(
        pose_from_calibration(calibrated(**kind), calibrated(0.0, -41.0, **kind)), placed(y=0.1),
        atol=1e-12,
    )
    # What the second sees straight ahead of the common axes, turned by each camera's R.
    first, second = calibrated(turn_rad=(0.0, 0.1, 0.0), **kind), calibrated(
        -40.0, turn_rad=(0.02, 0.0, 0.0), **kind
    )
    T = pose_from_calibration(first, second)
    point = np.array([0.3, -0.2, 4.0])
    to_first = cv2.Rodrigues(np.array([0.0, 0.1, 0.0]))[0].T @ (point + [0.1, 0, 0])
    to_second = cv2.Rodrigues(np.array([0.02, 0.0, 0.0]))[0].T @ point
    np.testing.assert_allclose(T[:3, :3] @ to_second + T[:3, 3], to_first, atol=1e-12)
    # Single cameras, and numbers that are none, say nothing of a pair.
    assert pose_from_calibration(calibrated(**kind), calibrated(**kind)) is None
    assert pose_from_calibration(calibrated(**kind), calibrated(math.nan, **kind)) is None
    assert pose_from_calibration(SCENE_CAMERA, SCENE_CAMERA) is None


# In the pipeline


def points(factor=1.0):
    """Return the scene's lidar sweep, farther by a factor as seen from the camera."""
    xyz_m, ring = scene_lidar()
    R, t = SCENE_T_CAMERA_LIDAR[:3, :3], SCENE_T_CAMERA_LIDAR[:3, 3]
    xyz_m = (factor * (xyz_m @ R.T + t) - t) @ R
    return SensorPoints(xyz_m.astype(np.float32), 0, 'lidar', ring=ring)


def stereo_source(believed=BESIDE):
    """Return the scene's stereo pair, whose second camera is taken to be where it may not be."""
    images = [textured_view(SCENE_CAMERA, T)[0] for T in (np.eye(4), BESIDE)]
    return StereoMatcher(SCENE_CAMERA, SCENE_CAMERA, believed).match(*images, CONFIG)


def measured(*sources, lidar=None):
    """Run the pipeline with a network that is exact."""
    image = np.repeat(textured_view(SCENE_CAMERA)[0][..., None], 3, axis=2)
    pose = None if lidar is None else SCENE_T_CAMERA_LIDAR
    pipeline = DepthPipeline(ExactPredictor(), Config())
    return pipeline.process(image, SCENE_CAMERA, lidar, pose, sources=sources)


def test_stereo_alone_gives_metres():
    frame = measured(stereo_source())
    assert (frame.fit.state.value, frame.fit.method) == ('FITTED', 'stereo')
    assert frame.fit.scale == pytest.approx(0.4, rel=0.02)
    off = np.abs(np.log(frame.depth / scene_depth_image()))
    assert np.nanmedian(off) < 0.01 and np.nanpercentile(off, 90) < 0.03


def test_wrong_baseline_is_outvoted_and_named():
    agreed = measured(stereo_source(), lidar=points())
    assert agreed.fit.method == 'lidar+stereo'
    # A baseline of 0.36 m for one of 0.3: depths are 20 % too large.
    frame = measured(stereo_source(placed(1.2 * BASELINE_M)), lidar=points())
    assert frame.fit.method == 'lidar'
    assert 'stereo says +20%' in frame.fit.reason or 'stereo says +19%' in frame.fit.reason
    off = np.abs(np.log(frame.depth / scene_depth_image()))
    assert np.nanmedian(off) < 0.005
