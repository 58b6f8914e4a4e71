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
        (K, [0.1] * 5, 'mei', 'mei'),
        (K, [0.1] * 3, 'plumb_bob', '3 coefficients'),
    ],
)
def test_unusable_cameras_say_why(K_wrong, D, model, cause):
    with pytest.raises(BadFrameError, match=cause):
        Camera.from_calibration(640, 480, K_wrong, D, model)
