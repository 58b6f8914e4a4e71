# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps brought along by the camera's own motion: where they lie, and when they are not used."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.bridging import Bridged, carry
from depth_anything_ros.metric_depth.camera_motion import CameraMotion
from depth_anything_ros.metric_depth.carried import Carried, CarriedSweep
from depth_anything_ros.metric_depth.scale import State, unanchored
from depth_anything_ros.metric_depth.sources import Sweep
from depth_anything_ros.metric_depth.ways import View
from depth_anything_ros.pipeline import DepthPipeline
from helpers import NearnessPredictor
from moving_camera import CAMERA, look, pose, SHIFT, SLOPE

STEP_M, PERIOD_NS, COUNT = 0.15, 100_000_000, 9
CONFIG, SPEC = Config(), NearnessPredictor().spec
MOUNT = np.array([[0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, -0.3], [0, 0, 0, 1.0]])
DISTORTED = Camera.from_calibration(
    320,
    240,
    [[260.0, 0, 158.5], [0, 255.0, 121], [0, 0, 1]],
    D=[-0.2, 0.05, 0.001, -0.001, 0.0],
    R=Rotation.from_rotvec([0.06, -0.15, 0.02]).as_matrix(),
)


def way(n):
    """Return where the camera is: it drives on, sways and turns a little."""
    return pose(0.02 * n, 0.0, STEP_M * n, (0.0, 0.3 * n, 0.1 * n))


@lru_cache
def seen(n, seed=0):
    """Return image and depth on the way."""
    return look(way(n), seed=seed)


def sweep(n, stretch=1.0):
    """Return what a lidar says: 16 rows of what this camera sees, in the lidar's own axes."""
    _, depth_m = seen(n)
    v, u = np.meshgrid(np.linspace(5, 235, 16).astype(int), np.arange(2, 318, 3), indexing='ij')
    z_m = depth_m[v, u].ravel()
    xy = CAMERA.undistort(np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32))
    points = np.concatenate([xy * z_m[:, None], z_m[:, None], np.ones((len(z_m), 1))], axis=1)
    xyz_m = (points @ np.linalg.inv(MOUNT).T)[:, :3] * stretch
    ring = np.repeat(np.arange(16), v.shape[1])
    return Sweep(SensorPoints(xyz_m.astype(np.float32), 0, 'lidar', ring=ring), MOUNT)


def drive(
    sweeps=(0, COUNT - 1), count=COUNT, seeds=None, period_ns=PERIOD_NS, stretch=1.0, told=None
):
    """Return views of a drive, of which some have a sweep, the last one stretched."""
    views = []
    for n in range(count):
        image = seen(n, 0 if seeds is None else seeds[n])[0]
        factor = stretch if n == count - 1 else 1.0
        found = sweep(n, factor) if n in sweeps else None
        pose = None if told is None else told(n)
        views.append(View(n * period_ns, partial(np.copy, image), CAMERA, found, pose))
    return views


def predict(n):
    return torch.from_numpy((SHIFT + SLOPE / seen(n)[1]).astype(np.float32))


def placed(carried, n, start):
    """Return by how many metres a carried sweep lies off where it is true that it lies."""
    T = np.linalg.inv(way(n)) @ way(start) @ MOUNT
    return float(np.linalg.norm((carried.sweep.T_camera_sensor - T)[:3, 3]))


@pytest.mark.parametrize('camera', [CAMERA, DISTORTED], ids=['pinhole', 'distorted'])
def test_camera_motion_is_found_in_metres(camera):
    axes = np.eye(4)
    axes[:3, :3] = camera.R
    motion = CameraMotion(camera)
    depth_m = look(pose() @ np.linalg.inv(axes), camera.rectified())[1].astype(np.float32)
    motion.start(look(pose(), camera)[0], depth_m, 0.01 * depth_m)
    for n in range(1, 3):
        found = motion.follow(look(way(n), camera)[0])
        true = axes @ np.linalg.inv(way(n)) @ np.linalg.inv(axes)
        assert np.abs(found - true)[:3, 3].max() < 0.02, n
        assert Rotation.from_matrix(found[:3, :3].T @ true[:3, :3]).magnitude() < 0.002, n
        assert not motion.few_left


def test_without_known_depth_or_corners_there_is_no_motion():
    image, depth_m = look(pose())
    depth_m = depth_m.astype(np.float32)
    for depth, sigma, first, then in (
        (np.full_like(depth_m, np.nan), depth_m, image, image),
        (depth_m, 0.5 * depth_m, image, image),
        (depth_m, 0.01 * depth_m, np.full_like(image, 90), image),
        (depth_m, 0.01 * depth_m, image, look(pose(), seed=7)[0]),
    ):
        motion = CameraMotion(CAMERA)
        motion.start(first, depth, sigma)
        assert motion.follow(then) is None
        assert motion.few_left


def test_both_sweeps_lie_where_they_are():
    views = drive()
    found = carry(views, predict, CONFIG, SPEC)
    assert found[0] is None and found[-1] is None  # they have their own
    for n, carried in enumerate(found[1:-1], 1):
        before, after = carried.sweeps
        assert placed(before, n, 0) < 0.03 and placed(after, n, COUNT - 1) < 0.03
        assert before.age_s == pytest.approx(0.1 * n)
        assert after.age_s == pytest.approx(-0.1 * (COUNT - 1 - n))
        anchors = carried.anchors(CAMERA, CONFIG.scale)
        assert anchors.names == ('carried',) and len(anchors) > 500
        truth_m = seen(n)[1][np.rint(anchors.v).astype(int), np.rint(anchors.u).astype(int)]
        assert np.median(np.abs(np.log(anchors.z_m / truth_m))) < 0.01
    assert found[3].when == '0.3 s before and 0.5 s after'
    # The farther, the less sure: 1.5 % of some .152 m a step at least.
    sigma = [carried.sweeps[0].sigma_m for carried in found[1:-1]]
    assert all(np.diff(sigma) > 0) and sigma[-1] > 0.015 * 7 * STEP_M


def test_sigma_and_rings_of_a_carried_sweep():
    ahead = np.array([[0, 0, 4.0], [0.4, 0, 4.0], [0, 0.3, 8.0]], np.float32)
    one = Sweep(SensorPoints(ahead[:2], 0, 'lidar', ring=np.array([3, 5])), np.eye(4))
    other = Sweep(SensorPoints(ahead[2:], 0, 'lidar', ring=np.array([3])), np.eye(4))
    carried = Carried((CarriedSweep(one, 1.0, 0.04), CarriedSweep(other, -1.0, 0.08)))
    anchors = carried.anchors(CAMERA, ScaleConfig())
    order = np.argsort(anchors.u + anchors.z_m * 1e3)
    # 4 cm at 4 m, and the lidar's own 2 cm in range; 8 cm at 8 m.
    expected = np.hypot(0.02 / np.linalg.norm(ahead, axis=1), 0.01)
    np.testing.assert_allclose(anchors.sigma[order], expected, rtol=1e-5)
    assert len(set(anchors.ring)) == 3


def test_a_cut_is_not_bridged():
    seeds = [0] * 4 + [9] * (COUNT - 4)  # all texture is another from one image to the next
    assert carry(drive(seeds=seeds), predict, CONFIG, SPEC) == [None] * COUNT


def test_sweeps_that_contradict_each_other_are_not_carried():
    assert carry(drive(stretch=1.2), predict, CONFIG, SPEC) == [None] * COUNT


def test_one_sweep_alone_is_carried_as_long_as_a_fit_is_held():
    views = drive(sweeps=(0,), count=6, period_ns=500_000_000)
    found = carry(views, predict, CONFIG, SPEC)
    assert [carried is not None for carried in found] == [False, True, True, True, True, False]
    step_m = np.linalg.norm((np.linalg.inv(way(1)) @ way(0))[:3, 3])
    assert found[4].sweeps[0].sigma_m == pytest.approx(0.05 * 4 * step_m, rel=0.05)
    views = drive(sweeps=(5,), count=6, period_ns=500_000_000)
    found = carry(views, predict, CONFIG, SPEC)
    assert [carried is not None for carried in found] == [False, True, True, True, True, False]
    assert carry(drive(sweeps=()), predict, CONFIG, SPEC) == [None] * COUNT
    assert carry([], predict, CONFIG, SPEC) == []


def stretched(factor):
    """Return odometry that says that the camera went so many times as far."""

    def told(n):
        T = way(n)
        T[:3, 3] *= factor
        return T

    return told


def placed_by(found):
    """Return who placed the sweeps of each image, with how many of them there are."""
    return [None if one is None else (one.placed_by, len(one.sweeps)) for one in found]


BY_ODOMETRY = [None, *(COUNT - 2) * [('odometry', 2)], None]
BY_IMAGES = [None, *(COUNT - 2) * [("the camera's motion", 2)], None]


def test_odometry_brings_sweeps_where_they_are():
    found = carry(drive(told=way), predict, CONFIG, SPEC)
    assert placed_by(found) == BY_ODOMETRY
    for n, carried in enumerate(found[1:-1], 1):
        before, after = carried.sweeps
        assert placed(before, n, 0) < 1e-6 and placed(after, n, COUNT - 1) < 1e-6
    # 2 % of some .152 m a step, and of a turn of .2 degrees/s half on the way; the turn itself.
    seven = found[7].sweeps[0]
    assert seven.sigma_m == pytest.approx(0.02 * 7 * 0.152, rel=0.1)
    assert seven.sigma_rad == pytest.approx(0.7 * 0.0035)


def test_odometry_of_2_percent_is_used_and_its_sigma_says_so():
    found = carry(drive(told=stretched(1.02)), predict, CONFIG, SPEC)
    assert placed_by(found) == BY_ODOMETRY
    for n, carried in enumerate(found[1:-1], 1):
        before = carried.sweeps[0]
        assert placed(before, n, 0) < 1.5 * before.sigma_m + 1e-3


@pytest.mark.parametrize('factor', [0.0, 0.8, 1.2, -1.0, 3.0])
def test_odometry_that_lies_leaves_it_to_the_images(factor):
    found = carry(drive(told=stretched(factor)), predict, CONFIG, SPEC)
    assert placed_by(found) == BY_IMAGES
    for n, carried in enumerate(found[1:-1], 1):
        assert all(placed(one, n, start) < 0.03 for one, start in zip(carried.sweeps, (0, 8)))


@pytest.mark.parametrize('factor', [0.0, 0.8, 1.2])
def test_odometry_that_lies_is_found_out_from_one_side(factor):
    views = drive(sweeps=(0,), told=stretched(factor))
    assert {who for who, _ in placed_by(carry(views, predict, CONFIG, SPEC))[1:]} == {
        "the camera's motion"
    }


def test_one_sweep_is_carried_on_by_odometry_for_longer_than_a_fit_is_held():
    for sweeps in ((0,), (COUNT - 1,)):
        views = drive(sweeps=sweeps, period_ns=500_000_000, told=way)  # 4 s; max_hold is 2 s
        found = placed_by(carry(views, predict, CONFIG, SPEC))
        assert [one for one in found if one is not None] == (COUNT - 1) * [('odometry', 1)]


def test_a_reset_of_odometry_ends_the_way_from_both_sides():
    anew = np.linalg.inv(pose(x=40.0, turn_deg=(0, 90, 0)))
    found = carry(drive(told=lambda n: way(n) if n < 5 else anew @ way(n)), predict, CONFIG, SPEC)
    assert placed_by(found) == [None, *7 * [('odometry', 1)], None]
    assert [one.sweeps[0].age_s > 0 for one in found[1:-1]] == [*4 * [True], *3 * [False]]
    assert all(placed(one.sweeps[0], n, 0) < 1e-6 for n, one in enumerate(found[1:5], 1))
    assert all(placed(one.sweeps[0], n, 8) < 1e-6 for n, one in enumerate(found[5:8], 5))


def test_a_camera_that_stands_still_keeps_its_sweep():
    views = [replace(view, image=partial(np.copy, seen(0)[0]), T_fixed_camera=way(0))
             for view in drive(sweeps=(0,))]
    found = carry(views, lambda n: predict(0), CONFIG, SPEC)
    assert placed_by(found)[1:] == (COUNT - 1) * [('odometry', 1)]
    assert all(one.sweeps[0].sigma_m < 1e-6 for one in found[1:])


def test_where_odometry_is_silent_images_are_asked():
    found = carry(drive(told=lambda n: None if n in (0, 3) else way(n)), predict, CONFIG, SPEC)
    assert placed_by(found)[4:8] == 4 * [('odometry', 1)]
    assert placed_by(found)[3] == ("the camera's motion", 2)
    longer = drive(told=lambda n: None if 2 <= n < 6 else way(n), period_ns=500_000_000)
    found = placed_by(carry(longer, predict, CONFIG, SPEC))
    assert found[1] == found[6] == found[7] == ('odometry', 1)
    assert {who for who, _ in found[2:6]} == {"the camera's motion"}


def test_what_moved_between_two_sweeps_anchors_nothing():
    u = np.arange(-1.0, 1.0, 0.05)
    wall = np.stack([u, 0 * u, np.full_like(u, 8.0)], axis=1)
    car = wall.copy()
    car[u > 0] *= 0.5  # was at 4 m on the right, and has left since
    one, other = (
        Sweep(SensorPoints(xyz.astype(np.float32), 0, 'lidar'), np.eye(4)) for xyz in (car, wall)
    )
    carried = Carried((CarriedSweep(one, 1.0, 0.01), CarriedSweep(other, -1.0, 0.01)))
    anchors = carried.anchors(CAMERA, ScaleConfig())
    assert len(anchors) > 10 and np.all(anchors.z_m > 7.9)
    assert anchors.u.max() < CAMERA.K[0, 2] + 4.5


def test_what_is_far_from_the_line_of_the_image_has_moved_and_both_lines_count():
    n = 4
    carried = carry(drive(), predict, CONFIG, SPEC)[n]
    before = carried.sweeps[0]
    points = before.sweep.points
    ghost = points.xyz_m.copy()
    ghost[::5] *= 0.3  # something that stood there then
    T = before.sweep.T_camera_sensor
    ghostly = replace(before, sweep=Sweep(replace(points, xyz_m=ghost), T))
    line = unanchored('inverse_depth', 0, 'none')
    args = predict(n), CAMERA, CONFIG.scale, SPEC
    alone, anchors = Bridged(line, Carried((ghostly,))).fit(*args)
    truth_m = seen(n)[1][np.rint(anchors.v).astype(int), np.rint(anchors.u).astype(int)]
    assert len(anchors) > 300 and np.all(np.abs(np.log(anchors.z_m / truth_m)) < 0.7)
    assert len(alone.at_anchors) == len(anchors)
    # Two lines as sure as each other: half way, and half the covariance.
    held = replace(line, state=State.HELD, scale=1.0, shift=0.3, covariance=alone.covariance)
    both, _ = Bridged(held, Carried((ghostly,))).fit(*args)
    assert both.scale == pytest.approx((alone.scale + 1.0) / 2)
    assert both.shift == pytest.approx((alone.shift + 0.3) / 2)
    np.testing.assert_allclose(both.covariance, alone.covariance / 2)


def test_the_pipeline_uses_it_where_an_image_has_no_fit():
    n = 4
    carried = carry(drive(), predict, CONFIG, SPEC)[n]
    image, depth_m = seen(n)
    line = unanchored('inverse_depth', 0, 'no anchors')
    line = replace(line, state=State.HELD, method='lidar', scale=1 / SLOPE, shift=-SHIFT / SLOPE)
    line = replace(line, covariance=np.diag([1e-4, 1e-6]), residual=0.1, doubt=0.03)
    line = replace(line, reason='smoothed')

    def measured(points, bridged):
        pipeline = DepthPipeline(NearnessPredictor(), CONFIG)
        prediction = pipeline.predict(image, CAMERA)
        return pipeline.measure(prediction, points, MOUNT, bridged=bridged)

    frame = measured(None, Bridged(line, carried))
    assert frame.fit.state is State.FITTED and frame.fit.method == 'carried'
    assert frame.fit.reason.endswith(
        'sweeps of 0.4 s before and 0.4 s after, placed by the camera\'s motion'
    )
    assert frame.fit.doubt == 0.03
    assert np.nanmedian(np.abs(np.log(frame.depth / depth_m))) < 0.02

    frame = measured(None, Bridged(line))
    assert frame.fit is line
    # Four points of a sweep are no fit.
    one = carried.sweeps[0].sweep
    few = replace(one.points, xyz_m=one.points.xyz_m[-4:], ring=one.points.ring[-4:])
    wrong = Sweep(few, one.T_camera_sensor)
    frame = measured(None, Bridged(line, Carried((CarriedSweep(wrong, 1.0, 0.1),))))
    assert (frame.fit.state, frame.fit.scale) == (State.HELD, line.scale)
    assert frame.fit.reason.startswith('smoothed; sweeps of 1.0 s before not used: ')

    # What the first pass found counts, not what this one would: it has seen less of the past.
    own = sweep(n).points
    assert measured(own, Bridged(line, carried)).fit.method == 'carried'
    fitted = Bridged(replace(line, state=State.FITTED), carried)
    np.testing.assert_array_equal(measured(own, fitted).depth, measured(own, None).depth)
    assert measured(own, fitted).fit.method == 'lidar'
