# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Network input: the paper's resize rule, normalisation, rectification in one sampling."""

import cv2
import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.network.preprocessing import network_size, Preprocessor
from depth_anything_ros.network.spec import ModelSpec

SPEC = ModelSpec('fake', 'inverse_depth', metric=False)
CPU = torch.device('cpu')


@pytest.mark.parametrize(
    'image, input_size, expected',
    [
        ((480, 640), 518, (518, 686)),  # 690.7 -> 49.33 patches -> 49
        ((375, 1242), 518, (518, 1722)),  # as the authors' code: 1715.6 -> 122.5 -> 123
        ((640, 480), 518, (686, 518)),
        ((720, 1280), 518, (518, 924)),  # 920.9 -> 65.8 -> 66
        ((100, 101), 140, (140, 140)),
    ],
)
def test_network_size(image, input_size, expected):
    assert network_size(*image, input_size, 14) == expected
    assert network_size(*image, input_size, 14, expected[0] * expected[1]) == expected


@pytest.mark.parametrize(
    'image, expected',
    [
        ((480, 640), (378, 504)),
        ((640, 480), (504, 378)),
        ((720, 1280), (280, 504)),  # 283.5 -> 284 pixels -> 20.3 patches -> 20
        ((375, 1242), (154, 504)),  # 152.2 -> 152 pixels -> 10.9 patches -> 11
        ((574, 1008), (294, 504)),  # 287 pixels, 20.5 patches: up
        ((30, 40), (378, 504)),
        ((1, 2000), (14, 504)),
    ],
)
def test_the_longer_side_rules_in_depth_anything_3(image, expected):
    assert network_size(*image, 504, 14, resize='upper_bound') == expected


@pytest.mark.parametrize(
    'image, steps',
    [
        ((480, 640), [(378, 504, cv2.INTER_AREA)]),
        ((720, 1280), [(284, 504, cv2.INTER_AREA), (280, 504, cv2.INTER_AREA)]),
        ((375, 1242), [(152, 504, cv2.INTER_AREA), (154, 504, cv2.INTER_CUBIC)]),
        ((90, 130), [(349, 504, cv2.INTER_CUBIC), (350, 504, cv2.INTER_CUBIC)]),
        ((1008, 1008), [(504, 504, cv2.INTER_AREA)]),
    ],
)
def test_depth_anything_3_resizes_in_opencvs_two_steps(image, steps):
    spec = ModelSpec('fake', 'depth', metric=True, input_size=504, resize='upper_bound')
    height, width = image
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    camera = Camera.from_calibration(width, height, np.diag([100.0, 100, 1]))
    network_input = Preprocessor(camera, spec, 0, CPU)(pixels)
    expected = pixels.astype(np.float32)
    for rows, columns, interpolation in steps:
        expected = cv2.resize(expected, (columns, rows), interpolation=interpolation)
    unnormalised = (network_input[0].permute(1, 2, 0).numpy() * spec.std + spec.mean) * 255
    np.testing.assert_allclose(unnormalised, expected, atol=0.05)


@pytest.mark.parametrize('image', [(480, 640), (1000, 20)])
@pytest.mark.parametrize(('side', 'multiple', 'expected'), [
    (384, 32, 384), (518, 14, 518), (100, 32, 96), (20, 32, 32), (1536, 1, 1536),
])
def test_networks_for_squares_get_one(image, side, multiple, expected):
    size = (expected, expected)
    assert network_size(*image, side, multiple, resize='stretch') == size
    spec = ModelSpec('fake', 'depth', True, input_size=side, multiple=multiple, resize='stretch')
    camera = Camera.from_calibration(*image[::-1], np.diag([100.0, 200, 1]))
    seen = Preprocessor(camera, spec, 0, CPU).network_camera
    assert seen.size == size
    assert seen.K[0, 0] == pytest.approx(100 * expected / image[1])
    assert seen.K[1, 1] == pytest.approx(200 * expected / image[0])


def test_depth_beside_the_sky_is_not_blended_with_it():
    camera = Camera.from_calibration(56, 56, np.diag([50.0, 50, 1]))
    preprocessor = Preprocessor(camera, SPEC, 14, CPU)
    prediction = torch.full((14, 14), 3.0)
    prediction[:5] = 900.0
    sky = prediction > 100
    values = preprocessor.at_image_size(prediction, sky)
    # Four pixels for one: the sky ends at row 20, between two pixel centres.
    assert values[:20].isnan().all()
    torch.testing.assert_close(values[20:], torch.full((36, 56), 3.0))
    assert preprocessor.at_image_size(prediction, torch.ones_like(sky)).isnan().all()
    torch.testing.assert_close(
        preprocessor.at_image_size(prediction, torch.zeros_like(sky)),
        preprocessor.at_image_size(prediction),
    )


@pytest.mark.parametrize('image', [(480, 640), (1, 2000), (60_000, 1)])
def test_a_network_input_beyond_the_limit_is_refused(image):
    with pytest.raises(BadFrameError, match=r'limits.network_pixels \(355347\)') as caught:
        network_size(*image, 518, 14, 518 * 686 - 1)
    assert caught.value.reason == 'image_too_large'


def test_same_size_is_only_normalised():
    image = np.arange(140 * 154 * 3, dtype=np.int64).astype(np.uint8).reshape(140, 154, 3)
    camera = Camera.from_calibration(154, 140, np.diag([100.0, 100, 1]))
    network_input = Preprocessor(camera, SPEC, 140, CPU)(image)
    expected = (image / 255.0 - SPEC.mean) / SPEC.std
    np.testing.assert_allclose(
        network_input[0].permute(1, 2, 0).numpy(), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(('image', 'side', 'size'), [
    ((120, 160), 140, (140, 182)),  # as V1's and V2's: larger
    ((375, 1242), 98, (98, 322)),  # smaller, without averaging
    ((9, 8), 28, (28, 28)),
])
def test_resize_is_the_authors_bicubic_of_numbers_that_are_not_rounded(image, side, size):
    height, width = image
    pixels = np.random.default_rng(0).choice(np.uint8([0, 90, 255]), (height, width, 3))
    camera = Camera.from_calibration(width, height, np.diag([100.0, 100, 1]))
    network_input = Preprocessor(camera, SPEC, side, CPU)(pixels)
    assert network_input.shape == (1, 3, *size)
    resized = cv2.resize(pixels / 255.0, size[::-1], interpolation=cv2.INTER_CUBIC)
    assert resized.max() > 1.02 or side == 98  # it overshoots, and is not clipped
    unnormalised = network_input[0].permute(1, 2, 0).numpy() * SPEC.std + SPEC.mean
    np.testing.assert_allclose(unnormalised, resized, atol=2e-4)
    # What a card does instead is the same.
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    there = torch.nn.functional.interpolate(planes, size, mode='bicubic')[0].permute(1, 2, 0)
    np.testing.assert_allclose(unnormalised, there.numpy(), atol=2e-4)


def test_rectified_view_shows_straight_ramp_and_black_border():
    # The image's red value is the ray's x, as seen through the distortion: after rectification
    # red must be affine in u.
    K = np.array([[150.0, 0, 159.5], [0, 150, 119.5], [0, 0, 1]])
    D = np.array([0.25, -0.05, 0, 0, 0])  # pincushion: with P = K a quarter shows nothing
    camera = Camera.from_calibration(320, 240, K, D)
    pixels = np.stack(np.meshgrid(np.arange(320.0), np.arange(240.0)), axis=-1).reshape(-1, 1, 2)
    x = cv2.undistortPoints(pixels, K, D)[:, 0, 0].reshape(240, 320)
    image = np.zeros((240, 320, 3), np.uint8)
    image[..., 0] = np.clip(128 + 80 * x, 0, 255).round()
    image[..., 1] = 255
    preprocessor = Preprocessor(camera, SPEC, 140, CPU)
    prepared = preprocessor(image)
    rectified = preprocessor.rectify(image)
    inside = ~preprocessor.border.numpy()
    u = np.broadcast_to(np.arange(320), (240, 320))
    # Black where OpenCV's map leaves the image, and only there; its rim is blended with black.
    map_u, map_v = cv2.initUndistortRectifyMap(K, D, None, K, (320, 240), cv2.CV_32FC1)
    beyond_px = np.maximum(np.abs(map_u - 159.5) - 160, np.abs(map_v - 119.5) - 120)
    assert (beyond_px > 0).mean() > 0.2
    np.testing.assert_array_equal(inside[beyond_px > 0.01], False)
    np.testing.assert_array_equal(inside[beyond_px < -0.01], True)
    np.testing.assert_array_equal(rectified[beyond_px > 1.0], 0)
    np.testing.assert_array_equal(rectified[beyond_px < -1.0][:, 1], 255)
    expected = 128 + 80 * (u - 159.5) / 150
    assert np.abs(rectified[..., 0] - expected)[beyond_px < -1.0].max() < 1.5
    # The network's own sampling shows the same ramp at its resolution.
    h, w = prepared.shape[-2:]
    red = prepared[0, 0].numpy() * SPEC.std[0] * 255 + SPEC.mean[0] * 255
    u_net = (np.arange(w) + 0.5) * 320 / w - 0.5
    expected_net = 128 + 80 * (u_net - 159.5) / 150
    middle = slice(w // 4, 3 * w // 4)
    assert np.abs(red[h // 2, middle] - expected_net[middle]).max() < 1.5


def test_image_of_another_size_is_refused():
    camera = Camera.from_calibration(640, 480, np.diag([100.0, 100, 1]))
    with pytest.raises(BadFrameError, match='240, 320'):
        Preprocessor(camera, SPEC, 140, CPU)(np.zeros((240, 320, 3), np.uint8))
