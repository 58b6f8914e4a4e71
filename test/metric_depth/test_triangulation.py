# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth from several views against numbers worked out by hand, and what its sigma is worth."""

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from depth_anything_ros.metric_depth.triangulation import triangulate

EXACT = 1e-7  # rad and m
NOISE = 0.3 / 500  # a third of a pixel


def moved(x=0.0, y=0.0, z=0.0, turn=(0.0, 0.0, 0.0)):
    """Return T_view_newest: where the newest view's origin is in an earlier one, and its axes."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    T[:3, 3] = x, y, z
    return T


def seen(points_m, T):
    """Return Nx2 coordinates on z = 1 of points of the newest view in another one."""
    there = points_m @ T[:3, :3].T + T[:3, 3]
    return there[:, :2] / there[:, 2:]


def triangulated(points_m, T, pose_sigma=EXACT, noise=0.0, seed=0, believed=None):
    """Triangulate points from views, with noise where they are seen.

    Args:
        points_m: Nx3 in the newest view.
        T: poses of the views.
        pose_sigma: what odometry is said to be worth.
        noise: of what is seen.
        seed: of the noise.
        believed: poses as odometry has them, the true ones if None.
    """
    rng = np.random.default_rng(seed)
    views = np.array([seen(points_m, one) for one in T])
    views += noise * rng.normal(size=views.shape)
    newest = seen(points_m, np.eye(4))
    newest += noise * rng.normal(size=newest.shape)
    sigma = np.broadcast_to(pose_sigma, (len(T), 6))
    return triangulate(newest, views, np.array(T if believed is None else believed), sigma, NOISE)


def cloud(count=200, seed=0):
    """Return Nx3 points from 3 to 30 m before the camera."""
    rng = np.random.default_rng(seed)
    z = 3 * 10 ** rng.random(count)
    return np.stack([*(rng.uniform(-0.6, 0.6, (2, count)) * z), z], axis=1)


def test_sideways_depth_is_f_b_over_disparity():
    # 500 px focal length, 0.5 m to the right: 50 px of disparity are 5 m, 10 px are 25 m.
    newest = np.array([[100.0, 40.0], [-30.0, 0.0]]) / 500
    views = np.array([[[150.0, 40.0], [-20.0, 0.0]]]) / 500
    points = triangulate(newest, views, np.array([moved(x=0.5)]), np.full((1, 6), EXACT), NOISE)
    np.testing.assert_allclose(1 / points.inverse_depth, [5.0, 25.0], rtol=1e-6)
    # Both ends of the disparity are noisy: sigma of 1/z is sqrt(2) noise / b, of z its z^2 times.
    np.testing.assert_allclose(points.sigma, np.sqrt(2) * NOISE / 0.5, rtol=1e-4)


@pytest.mark.parametrize('views', [1, 2, 5])
def test_more_views_average_the_noise_of_their_own_alone(views):
    points = triangulated(cloud(5), [moved(x=0.5)] * views)
    np.testing.assert_allclose(points.sigma, np.sqrt(1 + 1 / views) * NOISE / 0.5, rtol=1e-3)


def test_forward():
    # 2 m to the right at 4 m; 1 m before it was at 5 m, where x / z is 0.4.
    points = triangulate(
        np.array([[0.5, 0.0]]),
        np.array([[[0.4, 0.0]]]),
        np.array([moved(z=1.0)]),
        np.full((1, 6), EXACT),
        NOISE,
    )
    assert 1 / points.inverse_depth[0] == pytest.approx(4.0)
    # x' = (x + 0) / (1 + q) with q = 1/4: dx' = 0.8 dx - 0.32 dq.
    assert points.sigma[0] == pytest.approx(np.hypot(1, 0.8) / 0.32 * NOISE, rel=1e-4)


def test_at_the_point_that_the_camera_moves_to_there_is_no_depth():
    points = triangulated(np.array([[0.0, 0.0, 5.0], [2.0, 0.0, 5.0]]), [moved(z=1.0)] * 2)
    assert points.sigma[0] > 0.5 and points.sigma[1] < 0.01


@pytest.mark.parametrize('seed', range(5))
def test_any_turn_and_shift(seed):
    rng = np.random.default_rng(seed)
    T = [moved(*rng.uniform(-1, 1, 3), turn=rng.uniform(-0.3, 0.3, 3)) for _ in range(4)]
    points_m = cloud(60, seed)
    points = triangulated(points_m, T)
    np.testing.assert_allclose(1 / points.inverse_depth, points_m[:, 2], rtol=1e-3)
    np.testing.assert_allclose(points.xy, points_m[:, :2] / points_m[:, 2:], atol=1e-6)
    assert points.error.max() < 0.1 and points.noise == NOISE


def test_views_that_did_not_see_a_point_say_nothing_of_it():
    points_m = cloud(40)
    T = [moved(x=0.3), moved(x=0.6)]
    views = np.array([seen(points_m, one) for one in T])
    views[0, :20] = np.nan
    newest, sigma = seen(points_m, np.eye(4)), np.full((2, 6), EXACT)
    points = triangulate(newest, views, np.array(T), sigma, NOISE)
    np.testing.assert_allclose(1 / points.inverse_depth, points_m[:, 2], rtol=1e-4)
    np.testing.assert_allclose(points.sigma[:20], np.sqrt(2) * NOISE / 0.6, rtol=1e-2)
    views[:, 0] = np.nan
    unseen = triangulate(newest, views, np.array(T), sigma, NOISE)
    assert unseen.sigma[0] > 0.3 and np.isfinite(unseen.inverse_depth).all()


def test_odometry_too_long_by_a_fifth_makes_all_depth_too_long_by_a_fifth():
    points_m, T = cloud(), [moved(x=0.2 * i, z=0.1 * i) for i in (1, 2, 3)]
    believed = [one.copy() for one in T]
    for one in believed:
        one[:3, 3] *= 1.2
    points = triangulated(points_m, T, believed=believed)
    np.testing.assert_allclose(1 / points.inverse_depth, 1.2 * points_m[:, 2], rtol=1e-3)


def test_a_turn_that_odometry_has_wrong_is_seen_in_the_images():
    # 0.3 degrees in 0.3 m sideways: at 10 m that is taken for a sixth of the depth.
    points_m, T = cloud(), [moved(x=0.1 * i) for i in (1, 2, 3)]
    off = np.deg2rad([0.0, 0.3, 0.0])
    believed = [one @ moved(turn=off) for one in T]
    strict = triangulated(points_m, T, believed=believed)
    free = triangulated(points_m, T, np.repeat([0.01, EXACT], 3), believed=believed)
    wrong, right = (
        np.median(np.abs(1 / found.inverse_depth / points_m[:, 2] - 1)) for found in (strict, free)
    )
    assert wrong > 0.1 and right < 0.01


def test_what_moves_by_itself_does_not_fit_and_does_not_disturb_the_others():
    points_m, T = cloud(), [moved(x=0.3 * i, z=0.2 * i) for i in (1, 2, 3, 4)]
    views = np.array([seen(points_m, one) for one in T])
    views[:, :60, 1] += np.array([[1.0], [2.0], [3.0], [4.0]]) * 0.01  # 5 px a view, down
    points = triangulate(
        seen(points_m, np.eye(4)), views, np.array(T), np.full((4, 6), 1e-3), NOISE
    )
    assert (points.error[:60] > 3).all() and (points.error[60:] < 3).all()
    np.testing.assert_allclose(1 / points.inverse_depth[60:], points_m[60:, 2], rtol=0.01)


@pytest.mark.parametrize('sideways', [True, False])
@pytest.mark.parametrize('pose_sigma', [(EXACT, EXACT), (3e-3, 0.01)])
def test_nine_tenths_are_within_the_intervals_of_nine_tenths(sideways, pose_sigma):
    within = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        points_m = cloud(seed=seed)
        T = [moved(x=0.2 * i) if sideways else moved(z=0.5 * i, x=0.1 * i) for i in range(1, 6)]
        believed = [
            one @ moved(*pose_sigma[1] * rng.normal(size=3), pose_sigma[0] * rng.normal(size=3))
            for one in T
        ]
        points = triangulated(
            points_m, T, np.repeat(pose_sigma, 3), NOISE, seed, believed
        )
        assert points.noise == pytest.approx(NOISE, rel=0.15)
        off = np.abs(points.inverse_depth - 1 / points_m[:, 2])
        within.append(np.mean(off < 1.645 * points.sigma))
    assert 0.85 < np.mean(within) < 0.95


def test_what_is_found_is_the_most_probable_by_an_independent_search():
    # Few points and a turn that odometry has wrong: neither images nor odometry have all the say.
    points_m, T = cloud(12, seed=4), [moved(x=0.3), moved(x=0.5, z=0.2)]
    believed = [one @ moved(y=0.004, turn=(1e-3, 2e-3, 0)) for one in T]
    sigma = np.repeat([2e-3, 5e-3], 3)
    newest, views = seen(points_m, np.eye(4)), np.array([seen(points_m, one) for one in T])

    def residuals(unknown):
        xy, q, poses = np.split(unknown, [24, 36])
        xy, poses = xy.reshape(12, 2), poses.reshape(2, 6)
        there_m = np.c_[xy, np.ones(12)] / q[:, None]
        off = [(newest - xy) / NOISE, poses / sigma]
        for view, one, pose in zip(views, believed, poses):
            turn = Rotation.from_rotvec(pose[:3]).as_matrix()
            there = (there_m @ one[:3, :3].T + one[:3, 3]) @ turn.T + pose[3:]
            off.append((view - there[:, :2] / there[:, 2:]) / NOISE)
        return np.concatenate([part.ravel() for part in off])

    start = np.concatenate([newest.ravel(), 1 / points_m[:, 2], np.zeros(12)])
    best = least_squares(residuals, start, x_scale='jac').x[24:36]
    found = triangulated(points_m, T, sigma, believed=believed).inverse_depth
    np.testing.assert_allclose(found, best, rtol=5e-3)
    assert np.abs(best * points_m[:, 2] - 1).max() > 0.01  # odometry does have a say
