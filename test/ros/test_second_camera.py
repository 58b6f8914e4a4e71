# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The second camera's images by stamp, and everything that can be wrong with a pair."""

from functools import cache

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_anything_ros.config import LimitsConfig, ScaleConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.messages import (
    decode_camera,
    encode_camera,
    encode_image,
    encode_jpeg,
    ns_to_stamp,
)
from depth_anything_ros.ros.second_camera import SecondCamera
from depth_anything_ros.ros.stores import CameraStore
from depth_anything_ros.ros.transforms import TransformUnavailable
from helpers import header, SCENE_CAMERA, scene_depth, textured_view

NOW = 1_700_000_000_000_000_000
MS = 1_000_000
CONFIG = ScaleConfig()
BASELINE_M = 0.3


def stamped(message, stamp_ns, frame_id='right'):
    """Return a message with a header."""
    stamp = ns_to_stamp(stamp_ns)
    message.header.stamp.sec, message.header.stamp.nanosec = stamp['sec'], stamp['nanosec']
    message.header.frame_id = frame_id
    return message


@cache
def views():
    """Return what the first and the second camera see, gray."""
    T = np.eye(4)
    T[0, 3] = BASELINE_M
    return textured_view(SCENE_CAMERA)[0], textured_view(SCENE_CAMERA, T)[0]


def right_image(stamp_ns=NOW, image=None, encoding='mono8'):
    """Return a serialised image of the second camera."""
    image = views()[1] if image is None else image
    return serialize_message(stamped(Image(**encode_image(image, encoding)), stamp_ns))


def info(Tx=-500.0 * BASELINE_M, **changes):
    """Return the second camera's CameraInfo."""
    P = np.hstack([SCENE_CAMERA.K, [[Tx], [0.0], [0.0]]]).ravel().tolist()
    return CameraInfo(**(encode_camera(SCENE_CAMERA) | {'p': P} | changes))


def no_tf(source, target, stamp_ns):
    """Know nothing."""
    raise TransformUnavailable(f'TF from {source} to {target}: nobody says')


def second_camera(*images, camera_info=None, pose_of=no_tf, kind=Image, limits=None):
    """Return a store with a camera_info and images in it."""
    cameras = CameraStore(rectified=False)
    if camera_info is not False:
        cameras.add(serialize_message(stamped(camera_info or info(), NOW)))
    made = SecondCamera(kind, cameras.for_image, pose_of, limits or LimitsConfig())
    for image in images:
        made.add(image)
    return made


FIRST = decode_camera(info(0.0), rectified=False)


def match(second, stamp_ns=NOW, config=CONFIG, first=FIRST):
    """Return what is matched with the first camera's image."""
    image = np.repeat(views()[0][..., None], 3, axis=2)
    return second.match(image, first, header(stamp_ns, 'left'), config)


def check_right(points):
    """Assert that points lie on the scene's surfaces."""
    x, y, z = points.xyz_m.T
    assert len(z) > 1000
    off = np.abs(np.log(z / scene_depth(x / z, y / z)))
    assert np.median(off) < 0.012 and np.mean(off < 0.04) > 0.93


def refused(second, **options):
    """Return why there is no match."""
    with pytest.raises(BadFrameError) as caught:
        match(second, **options)
    return caught.value.reason, str(caught.value)


def test_image_of_the_same_time_is_matched():
    other = np.zeros_like(views()[1])
    second = second_camera(
        right_image(NOW - 33 * MS, other), right_image(), right_image(NOW + 33 * MS, other)
    )
    check_right(match(second))
    first, again = match(second), match(second)
    np.testing.assert_array_equal(first.xyz_m, again.xyz_m)


def test_compressed_images():
    image = np.repeat(views()[1][..., None], 3, axis=2)
    message = stamped(CompressedImage(**encode_jpeg(image)), NOW)
    check_right(match(second_camera(serialize_message(message), kind=CompressedImage)))


def test_nothing_has_come():
    assert match(second_camera()) is None


@pytest.mark.parametrize('late_ms', [-1.5, 1.5, 33.0])
def test_images_of_other_times_are_refused(late_ms):
    second = second_camera(right_image(NOW + round(late_ms * MS)))
    reason, message = refused(second)
    assert reason == 'right_image_out_of_time'
    side = 'newer' if late_ms > 0 else 'older'
    assert f'{abs(late_ms):.1f} ms {side}' in message and 'stereo_max_offset (1 ms)' in message
    check_right(match(second, config=ScaleConfig(stereo_max_offset=abs(late_ms) / 1e3)))


@pytest.mark.parametrize(
    'options, reason',
    [
        ({'camera_info': False}, 'right_no_camera_info'),
        ({'camera_info': info(width=320)}, 'right_camera_info_mismatch'),
        ({'camera_info': info(k=[0.0] * 9)}, 'right_uncalibrated_camera'),
        ({'camera_info': info(-500.0 * 11)}, 'stereo_baseline'),
        ({'camera_info': info(0.0)}, 'no_transform'),
        ({'camera_info': info(float('nan'))}, 'no_transform'),
        ({'camera_info': info(0.0), 'pose_of': lambda *_: np.eye(4)}, 'stereo_baseline'),
    ],
)
def test_calibration_that_makes_no_pair(options, reason):
    told, message = refused(second_camera(right_image(), **options))
    assert told == reason
    if reason == 'no_transform':
        assert 'fourth column of P' in message and 'TF from right to left' in message
    elif reason.startswith('right_'):
        assert message.startswith('right camera: ')


def test_images_that_cannot_be_used():
    reason, _ = refused(second_camera(right_image(image=views()[1], encoding='16UC9')))
    assert reason == 'right_unsupported_encoding'
    reason, _ = refused(second_camera(right_image()[:60]))
    assert reason == 'right_undecodable_message'
    with pytest.raises(BadFrameError) as caught:
        second_camera(b'\x00\x01\x00')
    assert caught.value.reason != 'right_image_too_large'
    with pytest.raises(BadFrameError, match='limits.sensor_memory') as caught:
        second_camera(bytes(2 << 20), limits=LimitsConfig(sensor_memory=1))
    # A good one after all, of the same time, is used.
    second = second_camera(right_image()[:60])
    refused(second)
    second.add(right_image())
    check_right(match(second))


def test_pose_from_tf_where_the_calibration_has_none():
    T = np.eye(4)
    T[0, 3] = BASELINE_M
    asked = []

    def pose_of(*arguments):
        asked.append(arguments)
        return T

    check_right(match(second_camera(right_image(), camera_info=info(0.0), pose_of=pose_of)))
    assert asked == [('right', 'left', NOW)]


def test_geometry_is_computed_once_and_again_where_it_changes():
    second = second_camera(right_image())
    match(second)
    matcher = second._matcher
    match(second)
    assert second._matcher is matcher
    other = decode_camera(info(0.0), rectified=False)
    match(second, first=other)
    assert second._matcher is not matcher


def test_images_are_bounded_and_that_of_the_image_in_hand_is_kept():
    small = np.zeros((2, 2), np.uint8)
    second = second_camera()
    second.hold(NOW + MS)
    for i in range(60):
        second.add(right_image(NOW + i * 33 * MS, small))
    kept = [(ns - NOW) // (33 * MS) for ns, _ in second._entries]
    assert kept == [0, *range(41, 60)]
    second.hold(NOW + 50 * 33 * MS)
    second.add(right_image(NOW + 60 * 33 * MS, small))
    assert min(second._entries)[0] > NOW
    # In memory too: three of 640x480 fit into one MiB.
    second = second_camera(limits=LimitsConfig(sensor_memory=1))
    for i in range(6):
        second.add(right_image(NOW + i * MS))
    assert [ns for ns, _ in second._entries] == [NOW + i * MS for i in (3, 4, 5)]
