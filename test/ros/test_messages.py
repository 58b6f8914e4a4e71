# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages to arrays: every encoding, byte order, padding; clouds of any layout."""

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros import messages
from helpers import header

HEIGHT, WIDTH = 24, 32
# Smooth colours, so that chroma subsampling and Bayer interpolation cost little.
V, U = np.mgrid[0:HEIGHT, 0:WIDTH]
RGB = np.stack([60 + 4 * U, 200 - 3 * V, 80 + 2 * U + V], axis=-1).astype(np.uint8)
GRAY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
GRAY_RGB = np.repeat(GRAY[..., None], 3, axis=-1)


def bayer(pattern):
    """Return RGB seen through a colour filter; pattern names its 2x2 cell row by row."""
    mosaic = np.zeros((HEIGHT, WIDTH), np.uint8)
    for i, letter in enumerate(pattern):
        dv, du = divmod(i, 2)
        mosaic[dv::2, du::2] = RGB[dv::2, du::2, 'rgb'.index(letter)]
    return mosaic


def yuv():
    """Return Y, U, V planes of RGB by BT.601 limited range, from the standard's formula."""
    r, g, b = (RGB[..., i].astype(float) for i in range(3))
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    return (plane.round().astype(np.uint8) for plane in (y, u, v))


def interleave(order):
    """Return a 4:2:2 image with its four bytes of two pixels in the given order."""
    y, u, v = yuv()
    packed = np.empty((HEIGHT, WIDTH // 2, 4), np.uint8)
    parts = {'0': y[:, ::2], '1': y[:, 1::2], 'u': u[:, ::2], 'v': v[:, ::2]}
    for i, letter in enumerate(order):
        packed[..., i] = parts[letter]
    return packed.reshape(HEIGHT, WIDTH * 2)


def semi_planar(encoding):
    """Return NV21 (V before U, subsampled) or NV24 (U before V, full size)."""
    y, u, v = yuv()
    chroma = (v[::2, ::2], u[::2, ::2]) if encoding == 'nv21' else (u, v)
    return np.concatenate([y.ravel(), np.stack(chroma, axis=-1).ravel()]).reshape(-1, WIDTH)


def wide(image):
    """Return 16-bit samples that mean the same."""
    return image.astype(np.uint16) * 257


BGR = np.ascontiguousarray(RGB[..., ::-1])
ALPHA = np.full((HEIGHT, WIDTH, 1), 7, np.uint8)
RGBA, BGRA = np.dstack([RGB, ALPHA]), np.dstack([BGR, ALPHA])
IMAGES = {
    'rgb8': (RGB, RGB, 0),
    'bgr8': (BGR, RGB, 0),
    'rgba8': (RGBA, RGB, 0),
    'bgra8': (BGRA, RGB, 0),
    'mono8': (GRAY, GRAY_RGB, 0),
    '8UC1': (GRAY, GRAY_RGB, 0),
    '8UC3': (BGR, RGB, 0),
    '8UC4': (BGRA, RGB, 0),
    'rgb16': (wide(RGB), RGB, 1),
    'bgr16': (wide(BGR), RGB, 1),
    'rgba16': (wide(RGBA), RGB, 1),
    'bgra16': (wide(BGRA), RGB, 1),
    'mono16': (wide(GRAY), GRAY_RGB, 1),
    'yuv422': (interleave('u0v1'), RGB, 6),
    'uyvy': (interleave('u0v1'), RGB, 6),
    'yuv422_yuy2': (interleave('0u1v'), RGB, 6),
    'yuyv': (interleave('0u1v'), RGB, 6),
    'nv21': (semi_planar('nv21'), RGB, 6),
    'nv24': (semi_planar('nv24'), RGB, 6),
}
for order in ('rggb', 'bggr', 'gbrg', 'grbg'):
    IMAGES[f'bayer_{order}8'] = (bayer(order), RGB, 6)
    IMAGES[f'bayer_{order}16'] = (wide(bayer(order)), RGB, 6)

DECODERS = [messages.decode_with_opencv]
if messages.CvBridge is not None:
    DECODERS.append(messages.decode_with_cv_bridge)


def image_message(encoding, stored, padding=0, big_endian=False):
    """Return a stand-in for sensor_msgs/Image with padded rows."""
    stored = stored.astype(stored.dtype.newbyteorder('>' if big_endian else '<'))
    rows = stored.reshape(stored.shape[0], -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return SimpleNamespace(
        header=header(),
        height=HEIGHT,
        width=WIDTH,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=padded.shape[1],
        data=array.array('B', padded.tobytes()),
    )


@pytest.mark.parametrize('decode', DECODERS)
@pytest.mark.parametrize('encoding', IMAGES)
def test_every_encoding_decodes_to_the_same_picture(encoding, decode):
    if decode is not messages.decode_with_opencv and encoding in messages._CV_BRIDGE_LACKS:
        pytest.skip(f'cv_bridge has no {encoding}')
    stored, expected, tolerance = IMAGES[encoding]
    decoded = decode(image_message(encoding, stored))
    assert decoded.shape == (HEIGHT, WIDTH, 3) and decoded.dtype == np.uint8
    inner = (slice(2, -2), slice(2, -2)) if 'bayer' in encoding else (slice(None),)
    error = np.abs(decoded[inner].astype(int) - expected[inner])
    assert error.max() <= tolerance


def test_table_tests_every_encoding():
    assert set(IMAGES) == set(messages._ENCODINGS)


@pytest.mark.parametrize('encoding', ['rgb8', 'mono16', 'yuyv', 'bgra8'])
def test_padded_rows(encoding):
    stored, expected, tolerance = IMAGES[encoding]
    decoded = messages.decode_image(image_message(encoding, stored, padding=6))
    assert np.abs(decoded.astype(int) - expected).max() <= tolerance


def test_big_endian_samples():
    decoded = messages.decode_image(image_message('mono16', wide(GRAY), big_endian=True))
    assert np.abs(decoded.astype(int) - GRAY_RGB).max() <= 1


def test_unknown_encoding_and_missing_bytes_are_bad_frames():
    with pytest.raises(BadFrameError, match='"32FC1" is not a colour') as caught:
        messages.decode_image(image_message('32FC1', GRAY))
    assert caught.value.reason == 'unsupported_encoding'
    message = image_message('rgb8', RGB)
    message.data = message.data[:-1]
    with pytest.raises(BadFrameError, match='only 2303 bytes'):
        messages.decode_image(message)


@pytest.mark.parametrize('suffix, tolerance', [('.png', 0), ('.jpg', 12)])
def test_compressed_image(suffix, tolerance):
    data = array.array('B', cv2.imencode(suffix, BGR)[1].tobytes())
    message = SimpleNamespace(header=header(), format=suffix[1:], data=data)
    assert np.abs(messages.decode_image(message).astype(int) - RGB).max() <= tolerance


def test_broken_compressed_image_is_a_bad_frame():
    for data in (array.array('B'), array.array('B', b'no picture')):
        with pytest.raises(BadFrameError, match='cannot be decoded'):
            messages.decode_image(SimpleNamespace(format='jpeg', data=data))


FLOAT32, FLOAT64, UINT16, UINT32 = 7, 8, 4, 6


def cloud_message(fields, rows, point_step, big_endian=False, row_padding=0):
    """Return a stand-in for sensor_msgs/PointCloud2 of one point per row of values.

    Args:
        fields: (name, offset, datatype) of each.
        rows: lists of points; a point is a dict of field name to value.
        point_step: bytes per point.
        big_endian: byte order of the data.
        row_padding: unused bytes at the end of each row.
    """
    kinds = {FLOAT32: 'f4', FLOAT64: 'f8', UINT16: 'u2', UINT32: 'u4'}
    data = b''
    for row in rows:
        for point in row:
            packed = bytearray(point_step)
            for name, offset, kind in fields:
                order = '>' if big_endian else '<'
                value = np.array(point[name], np.dtype(kinds[kind]).newbyteorder(order)).tobytes()
                packed[offset : offset + len(value)] = value
            data += bytes(packed)
        data += bytes(row_padding)
    return SimpleNamespace(
        header=header(5_000_000_000, 'lidar'),
        height=len(rows),
        width=len(rows[0]) if rows else 0,
        fields=[
            SimpleNamespace(name=name, offset=offset, datatype=kind, count=1)
            for name, offset, kind in fields
        ],
        is_bigendian=big_endian,
        point_step=point_step,
        row_step=point_step * (len(rows[0]) if rows else 0) + row_padding,
        data=array.array('B', data),
        is_dense=False,
    )


XYZ = [('x', 4, FLOAT32), ('y', 12, FLOAT32), ('z', 8, FLOAT32)]


@pytest.mark.parametrize('big_endian', [False, True])
def test_cloud_of_odd_layout_padded_rows_and_nan(big_endian):
    rows = [
        [{'x': 1, 'y': 2, 'z': 3}, {'x': np.nan, 'y': 0, 'z': 0}],
        [{'x': 4, 'y': 5, 'z': 6}, {'x': 7, 'y': 8, 'z': 9}],
    ]
    points = messages.decode_points(cloud_message(XYZ, rows, 20, big_endian, row_padding=8))
    np.testing.assert_array_equal(points.xyz_m, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert points.xyz_m.dtype == np.float32
    assert (points.stamp_ns, points.frame_id) == (5_000_000_000, 'lidar')
    assert points.ring is None and points.time_s is None


@pytest.mark.parametrize(
    'field, kind, value',
    [
        ('t', UINT32, 25_000_000),
        ('time', FLOAT32, 0.025),
        ('timestamp', FLOAT64, 5.025),
        ('offset_time', UINT32, 25_000_000),
    ],
)
def test_point_times_of_common_drivers(field, kind, value):
    # The stamp is 5 s. A "timestamp" beside it is absolute once it is no small number.
    fields = [*XYZ, (field, 16, kind), ('ring', 24, UINT16)]
    message = cloud_message(fields, [[{'x': 1, 'y': 1, 'z': 1, field: value, 'ring': 9}]], 28)
    if field == 'timestamp':
        message.header.stamp.sec = 1_700_000_000
        message.data = cloud_message(
            fields, [[{'x': 1, 'y': 1, 'z': 1, field: 1_700_000_000.025, 'ring': 9}]], 28
        ).data
    points = messages.decode_points(message)
    np.testing.assert_allclose(points.time_s, [0.025], atol=1e-6)
    np.testing.assert_array_equal(points.ring, [9])


def test_empty_and_truncated_clouds():
    assert len(messages.decode_points(cloud_message(XYZ, [], 20))) == 0
    message = cloud_message(XYZ, [[{'x': 1, 'y': 2, 'z': 3}]], 20)
    message.data = message.data[:-1]
    with pytest.raises(BadFrameError):
        messages.decode_points(message)
    with pytest.raises(BadFrameError, match='no x, y, z'):
        messages.decode_points(cloud_message(XYZ[:2], [[{'x': 1, 'y': 2}]], 20))


def test_scan_to_points_by_hand():
    scan = SimpleNamespace(
        header=header(1, 'laser'),
        angle_min=-np.pi / 2,
        angle_increment=np.pi / 2,
        time_increment=0.01,
        range_min=0.5,
        range_max=10.0,
        ranges=[2.0, 3.0, 4.0, np.inf],
    )
    points = messages.decode_scan(scan)
    np.testing.assert_allclose(points.xyz_m, [[0, -2, 0], [3, 0, 0], [0, 4, 0]], atol=1e-6)
    np.testing.assert_allclose(points.time_s, [0, 0.01, 0.02])
