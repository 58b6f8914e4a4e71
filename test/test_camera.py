# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera geometry against numbers worked out by hand and against OpenCV's inverse."""

import cv2
import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import BadFrameError

K = [[500.0, 0, 320], [0, 400.0, 240], [0, 0, 1]]


def test_roi_is_applied_before_binning():
    # Region at (100, 50) of 400x300, binned 2x2: cx = (320 - 100 + .5) / 2 - .5, fx = 500 / 2.
    camera = Camera.from_calibration(640, 480, K, roi=(100, 50, 400, 300), binning=(2, 2))
    assert camera.size == (150, 200)
    np.testing.assert_allclose(camera.K, [[250, 0, 109.75], [0, 200, 94.75], [0, 0, 1]])


def test_what_is_seen_at_the_centre_of_a_binned_pixel_is_at_the_centre_of_its_block():
    # Pixel (10, 20) of a 4x2 binning covers columns 40..43 and rows 40..41.
    full, binned = (
        Camera.from_calibration(640, 480, K, binning=binning) for binning in ((1, 1), (4, 2))
    )
    ray = binned.rays()[20, 10]
    np.testing.assert_allclose(full.K @ ray, [41.5, 40.5, 1])


def test_an_ideal_fisheye_is_no_pinhole():
    # Equidistant without further coefficients: u = fx theta + cx, and theta = pi/4 at x = 1.
    P = [[200.0, 0, 320, 0], [0, 200.0, 240, 0], [0, 0, 1, 0]]
    camera = Camera.from_calibration(640, 480, K, np.zeros(4), 'equidistant', P=P)
    assert camera.is_distorted
    np.testing.assert_allclose(camera.distort([[1.0, 0.0]]), [[500 * np.pi / 4 + 320, 240]])
    source = camera.rectification_map(camera.rectified())
    np.testing.assert_allclose(source[240, 420], [500 * np.arctan(0.5) + 320, 240], rtol=1e-6)


def test_rectified_image_uses_P_and_R_and_drops_distortion():
    P = [[450.0, 0, 300, -40], [0, 450, 200, 0], [0, 0, 1, 0]]
    R = cv2.Rodrigues(np.array([0.0, 0.1, 0.0]))[0]
    camera = Camera.from_calibration(640, 480, K, [0.1] * 5, R=R, P=P, rectified=True)
    assert not camera.is_distorted
    np.testing.assert_allclose(camera.K, np.array(P)[:, :3])
    np.testing.assert_allclose(camera.R, R)


def test_P_of_zeros_means_K():
    camera = Camera.from_calibration(640, 480, K, P=np.zeros(12), rectified=True)
    np.testing.assert_allclose(camera.K, K)


def test_raw_image_without_distortion_is_a_pinhole_with_K():
    P = np.array([[450.0, 0, 300, 0], [0, 450, 200, 0], [0, 0, 1, 0]])
    camera = Camera.from_calibration(640, 480, K, np.zeros(5), P=P)
    assert camera.rectified() is camera
    np.testing.assert_allclose(camera.K, K)


def test_scaled_keeps_the_outer_edges():
    # Half size: the left edge u = -0.5 stays at -0.5, so cx' = (320 + 0.5) / 2 - 0.5.
    half = Camera.from_calibration(640, 480, K).scaled(320, 240)
    np.testing.assert_allclose(half.K, [[250, 0, 159.75], [0, 200, 119.75], [0, 0, 1]])


def test_strided_keeps_pixel_zero():
    third = Camera.from_calibration(640, 480, K).strided(3)
    assert third.size == (160, 214)
    np.testing.assert_allclose(third.K[:2, 2], [320 / 3, 80])


def test_rays_have_unit_z():
    rays = Camera.from_calibration(640, 480, K).rays()
    np.testing.assert_allclose(rays[240, 320], [0, 0, 1])
    np.testing.assert_allclose(rays[40, 820 - 320], [(500 - 320) / 500, -0.5, 1])


def test_plumb_bob_by_hand():
    # x = 0.5, y = 0, k1 = 0.1: x' = 0.5 * (1 + 0.1 * 0.25) = 0.5125.
    camera = Camera.from_calibration(640, 480, K, [0.1, 0, 0, 0, 0])
    np.testing.assert_allclose(camera.distort([[0.5, 0.0]]), [[0.5125 * 500 + 320, 240]])


def test_equidistant_by_hand():
    # theta = atan(1) = pi/4 and theta_d = theta (1 + 0.1 theta^2).
    theta = np.pi / 4
    camera = Camera.from_calibration(640, 480, K, [0.1, 0, 0, 0], 'equidistant')
    expected = theta * (1 + 0.1 * theta**2) * 500 + 320
    np.testing.assert_allclose(camera.distort([[1.0, 0.0]]), [[expected, 240]], rtol=1e-7)


@pytest.mark.parametrize(
    'model, D',
    [
        ('plumb_bob', [-0.3, 0.1, 1e-3, -2e-3, 0.0]),
        ('rational_polynomial', [0.4, -0.2, 1e-3, 5e-4, 0.02, 0.7, -0.1, 0.05]),
        ('equidistant', [-0.02, 0.01, -0.003, 0.001]),
    ],
)
def test_rectification_map_is_inverted_by_opencv(model, D):
    R = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
    P = np.array([[420.0, 0, 310, 0], [0, 410, 250, 0], [0, 0, 1, 0]])
    camera = Camera.from_calibration(640, 480, K, D, model, R, P)
    target = camera.rectified()
    source = camera.rectification_map(target)[60:420:40, 80:560:40].reshape(-1, 1, 2)
    undistort = cv2.fisheye.undistortPoints if model == 'equidistant' else cv2.undistortPoints
    back = undistort(source, np.array(K), np.array(D), R=R, P=P).reshape(9, 12, 2)
    u, v = np.meshgrid(np.arange(80, 560, 40), np.arange(60, 420, 40))
    np.testing.assert_allclose(back, np.stack([u, v], axis=-1), atol=0.05)


def test_folded_distortion_is_masked():
    # x (1 - x^2) grows up to x = 1/sqrt(3); beyond, rays come back into the image. fx = 200.
    wide = [[200.0, 0, 320], [0, 200, 240], [0, 0, 1]]
    camera = Camera.from_calibration(640, 480, wide, [-1.0, 0, 0, 0, 0])
    seen = np.isfinite(camera.rectification_map(camera.rectified())[240, :, 0])
    radius = np.abs(np.arange(640) - 320) / 200
    np.testing.assert_array_equal(seen[radius < 0.57], True)
    np.testing.assert_array_equal(seen[radius > 0.585], False)


@pytest.mark.parametrize(
    'K_wrong, D, model, cause',
    [
        (np.zeros(9), [], 'plumb_bob', 'calibrate'),
        (K, [0.1] * 5, 'mei', '"mei"'),
        (K, [0.1] * 5, 'x' * 1000, '"x{40}"'),
        (K, [0.1] * 3, 'plumb_bob', '3 coefficients'),
    ],
)
def test_unusable_cameras_say_why(K_wrong, D, model, cause):
    with pytest.raises(BadFrameError, match=cause):
        Camera.from_calibration(640, 480, K_wrong, D, model)


def P_of(**changes):
    """Return a good P, with some entries (named by row and column) changed."""
    P = np.array([[450.0, 0, 300, 0], [0, 450, 200, 0], [0, 0, 1, 0]])
    for place, value in changes.items():
        P[int(place[1]), int(place[2])] = value
    return P


NOT_FINITE = [np.nan, np.inf, -np.inf, 1e300]


@pytest.mark.parametrize(
    'P',
    [
        P_of(P22=0),
        P_of(P11=0),
        P_of(P00=-450),
        P_of(P20=1),
        P_of(P10=450),
        P_of(P02=1e9),
        P_of(P00=1e-300),
        *(P_of(**{place: value}) for place in ('P00', 'P11', 'P02', 'P01') for value in NOT_FINITE),
    ],
)
def test_singular_P_is_refused_where_it_is_used(P):
    """It is used where there is distortion to remove, and of a rectified image."""
    D = [0.1, 0, 0, 0, 0]
    for rectified in (True, False):
        with pytest.raises(BadFrameError, match='focal length') as caught:
            Camera.from_calibration(640, 480, K, D, P=P, rectified=rectified)
        assert caught.value.reason == 'uncalibrated_camera'
    np.testing.assert_array_equal(Camera.from_calibration(640, 480, K, P=P).K, K)


@pytest.mark.parametrize('value', NOT_FINITE)
@pytest.mark.parametrize('place', range(9))
def test_K_that_is_not_finite_is_refused(place, value):
    K_wrong = np.array(K).ravel()
    K_wrong[place] = value
    with pytest.raises(BadFrameError, match='focal length'):
        Camera.from_calibration(640, 480, K_wrong)
    assert Camera.from_calibration(640, 480, K_wrong, P=P_of(), rectified=True).K[0, 0] == 450


@pytest.mark.parametrize('value', NOT_FINITE)
@pytest.mark.parametrize('model, count', [('plumb_bob', 5), ('equidistant', 4)])
def test_coefficients_that_are_not_finite_are_refused(model, count, value):
    D = [0.1] * (count - 1) + [value]
    with pytest.raises(BadFrameError, match='coefficients'):
        Camera.from_calibration(640, 480, K, D, model)
    assert not Camera.from_calibration(640, 480, K, D, model, P=P_of(), rectified=True).D


@pytest.mark.parametrize(
    'R',
    [
        np.diag([1.0, 1, -1]),
        np.diag([2.0, 2, 2]),
        np.ones((3, 3)),
        np.diag([1.0, 1, 0]),
        *(np.diag([1.0, 1, value]) for value in NOT_FINITE),
    ],
)
def test_an_R_that_is_no_rotation_is_refused_where_it_is_used(R):
    for arguments in ({'rectified': True}, {'D': [0.1, 0, 0, 0, 0]}):
        with pytest.raises(BadFrameError, match='no rotation'):
            Camera.from_calibration(640, 480, K, R=R, **arguments)
    assert Camera.from_calibration(640, 480, K, R=R).is_calibrated


def test_an_R_of_three_digits_is_a_rotation():
    R = cv2.Rodrigues(np.array([0.01, -0.02, 0.03]))[0].round(3)
    assert Camera.from_calibration(640, 480, K, R=R, rectified=True).is_calibrated


END = 2**32 - 1


@pytest.mark.parametrize(
    'roi, binning',
    [
        ((640, 0, 0, 0), (0, 0)),
        ((0, 0, 641, 480), (1, 1)),
        ((1, 0, 640, 480), (1, 1)),
        ((0, 240, 640, 241), (0, 0)),
        ((END, END, END, END), (0, 0)),
        ((0, 0, 0, END), (0, 0)),
        ((0, 0, 0, 0), (641, 1)),
        ((0, 0, 0, 0), (1, END)),
        ((100, 100, 4, 4), (5, 1)),
    ],
)
def test_region_and_binning_must_leave_an_image(roi, binning):
    with pytest.raises(BadFrameError, match='region') as caught:
        Camera.from_calibration(640, 480, K, roi=roi, binning=binning)
    assert caught.value.reason == 'bad_region'


@pytest.mark.parametrize(
    'roi, binning, size',
    [
        ((639, 479, 1, 1), (1, 1), (1, 1)),
        ((0, 0, 640, 480), (640, 480), (1, 1)),
        ((0, 0, 0, 0), (0, 0), (480, 640)),
        ((0, 0, 639, 479), (2, 2), (239, 319)),
    ],
)
def test_region_and_binning_at_their_ends(roi, binning, size):
    camera = Camera.from_calibration(640, 480, K, roi=roi, binning=binning)
    assert camera.size == size and np.isfinite(camera.rays()).all()


@pytest.mark.parametrize('width, height', [(0, 480), (640, 0), (END, 480), (640, END), (65536, 1)])
def test_sizes_that_no_image_has_are_refused(width, height):
    with pytest.raises(BadFrameError, match='calibrate'):
        Camera.from_calibration(width, height, K)


@pytest.mark.parametrize('turn', [(0, np.pi / 2, 0), (0, np.pi, 0), (3, 0, 0), (0, 0, 3)])
@pytest.mark.parametrize('model, D', [('plumb_bob', [1e6] * 5), ('equidistant', [-1e6] * 4)])
def test_what_is_accepted_has_a_rectification_map(model, D, turn):
    """However odd: nothing or little is seen, but nothing is raised, and nothing lies outside."""
    R = cv2.Rodrigues(np.array(turn, np.float64))[0]
    camera = Camera.from_calibration(64, 48, np.diag([60.0, 60, 1]), D, model, R)
    source = camera.rectification_map(camera.rectified())
    assert source.shape == (48, 64, 2)
    seen = source[np.isfinite(source).all(axis=-1)]
    assert ((seen >= -0.5) & (seen <= (63.5, 47.5))).all()


@pytest.mark.parametrize(
    ('D', 'model'),
    [
        ([], 'plumb_bob'),
        ([-0.3, 0.1, 1e-3, -2e-3, 0.01], 'plumb_bob'),
        ([0.5, -0.2, 1e-3, 0.0, 0.05, 0.9, -0.1, 0.02], 'rational_polynomial'),
        ([0.05, -0.01, 0.003, -0.001], 'equidistant'),
    ],
)
def test_undistort_is_the_inverse_of_distort(D, model):
    camera = Camera.from_calibration(640, 480, K, D, model)
    xy = np.stack(np.meshgrid(np.linspace(-0.6, 0.6, 13), np.linspace(-0.5, 0.5, 11)), axis=-1)
    xy = xy.reshape(-1, 2)
    np.testing.assert_allclose(camera.undistort(camera.distort(xy)), xy, atol=2e-5)
    assert camera.undistort(np.zeros((0, 2))).shape == camera.distort([]).shape == (0, 2)


def test_undistort_by_hand():
    # x = (420 - 320) / 500, y = (200 - 240) / 400; equidistant: x = tan(100 / 500) along a row.
    pinhole = Camera.from_calibration(640, 480, K)
    np.testing.assert_allclose(pinhole.undistort([[420, 200]]), [[0.2, -0.1]])
    fisheye = Camera.from_calibration(640, 480, K, np.zeros(4), 'equidistant')
    np.testing.assert_allclose(fisheye.undistort([[420, 240]]), [[np.tan(0.2), 0]], atol=1e-6)


def test_pixels_that_no_ray_leads_to_have_none():
    # Barrel distortion r (1 - .3 r^2) is largest, .70, at r = 1.05: beyond it there is no ray.
    camera = Camera.from_calibration(640, 480, K, [-0.3, 0, 0, 0, 0])
    known = np.isfinite(camera.undistort([[320 + 500 * 0.65, 240], [320 + 500 * 0.75, 240]]))
    np.testing.assert_array_equal(known, [[True, True], [False, False]])
