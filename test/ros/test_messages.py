# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image messages to arrays: every encoding, byte order, padding; what is none is refused."""

import array
import struct
from types import SimpleNamespace
import zlib

import cv2
import numpy as np
import pytest

from depth_anything_ros.config import LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros import images, messages
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


@pytest.mark.parametrize('decode', [images.decode_image, messages.decode_image])
@pytest.mark.parametrize('encoding', IMAGES)
def test_every_encoding_decodes_to_the_same_picture(encoding, decode):
    """The second decoder is cv_bridge for the encodings in which a machine has a sound one."""
    stored, expected, tolerance = IMAGES[encoding]
    decoded = decode(image_message(encoding, stored))
    assert decoded.shape == (HEIGHT, WIDTH, 3) and decoded.dtype == np.uint8
    inner = (slice(2, -2), slice(2, -2)) if 'bayer' in encoding else (slice(None),)
    error = np.abs(decoded[inner].astype(int) - expected[inner])
    assert error.max() <= tolerance


def test_table_tests_every_encoding():
    assert set(IMAGES) == set(images.ENCODINGS)


@pytest.mark.parametrize('encoding', IMAGES)
def test_padded_rows(encoding):
    """Of NV24, a row of chroma is as long as two of luma, padding too."""
    stored, _, _ = IMAGES[encoding]
    message, padded = (image_message(encoding, stored, padding=n) for n in (0, 6))
    if encoding == 'nv24':
        chroma = np.pad(stored[HEIGHT:].reshape(HEIGHT, 2 * WIDTH), ((0, 0), (0, 12)))
        luma = np.pad(stored[:HEIGHT], ((0, 0), (0, 6)))
        padded.data = array.array('B', luma.tobytes() + chroma.tobytes())
    expected = messages.decode_image(message)
    np.testing.assert_array_equal(messages.decode_image(padded), expected)


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


def refused(message, reason, limits=LimitsConfig()):
    with pytest.raises(BadFrameError) as caught:
        messages.decode_image(message, limits)
    assert caught.value.reason == reason and len(str(caught.value)) <= 500
    return str(caught.value)


@pytest.mark.parametrize('encoding', IMAGES)
def test_images_of_every_small_size_are_decoded_or_refused(encoding):
    """Two neighbours share their colour in 4:2:2, four in the semi-planar encodings."""
    channels, sample, _ = images.ENCODINGS[encoding]
    message = image_message('rgb8', RGB)
    message.encoding, message.data = encoding, bytes(1000)
    even = {'yuv422': 1, 'uyvy': 1, 'yuv422_yuy2': 1, 'yuyv': 1, 'nv21': 2, 'nv24': 2}
    for height, width in np.ndindex(7, 7):
        message.height, message.width = height, width
        message.step = width * channels * np.dtype(sample).itemsize
        if not height * width:
            refused(message, 'truncated_image')
        elif (width % 2 and encoding in even) or (height % 2 and even.get(encoding) == 2):
            assert f'{width}x{height}' in refused(message, 'odd_size')
        else:
            assert messages.decode_image(message).shape == (height, width, 3)


def gray(height, width):
    """Return an image whose data are there, though nobody has to look at them."""
    message = image_message('mono8', GRAY)
    message.height, message.width, message.step = height, width, width
    message.data = bytes(height * width)
    return message


def test_limits_of_images():
    few = LimitsConfig(image_pixels=100, image_aspect=4.0)
    assert messages.decode_image(gray(5, 20), few).shape == (5, 20, 3)
    assert 'limits.image_pixels (100)' in refused(gray(10, 11), 'image_too_large', few)
    assert 'limits.image_aspect (4)' in refused(gray(4, 17), 'image_too_long', few)
    assert 'limits.image_aspect (4)' in refused(gray(17, 4), 'image_too_long', few)
    for size in ((1, 20_000), (60_000, 1), (1, 2000)):
        refused(gray(*size), 'image_too_long')
    assert messages.decode_image(gray(1000, 8000)).shape == (1000, 8000, 3)


@pytest.mark.parametrize(
    'field, value',
    [('height', 2**32 - 1), ('width', 2**32 - 1), ('step', 2**32 - 1), ('step', 0), ('width', 0)],
)
def test_sizes_at_their_ends_are_refused(field, value):
    message = image_message('rgb8', RGB)
    setattr(message, field, value)
    refused(message, 'truncated_image')


def test_what_is_quoted_is_cut():
    message = image_message('rgb8', RGB)
    message.encoding = 'x\n' * 1_000_000
    text = refused(message, 'unsupported_encoding')
    assert text.isprintable() and '"x x x' in text
    long = BadFrameError('reason', 'a' * 10_000 + 'the cure')
    assert len(str(long)) <= 500 and str(long).endswith('the cure')


def file(data, kind='png'):
    return SimpleNamespace(header=header(), format=kind, data=array.array('B', data))


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def png(width, height, *extra, data=b''):
    """Return a gray PNG file that claims a size, with chunks before the picture."""
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0))
    picture = chunk(b'IDAT', data or zlib.compress(bytes((1 + width) * height)))
    return b'\x89PNG\r\n\x1a\n' + head + b''.join(extra) + picture + chunk(b'IEND', b'')


def jpeg(width, height):
    """Return a JPEG file of 8x8 that claims another size."""
    data = bytearray(cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1])
    at = data.index(b'\xff\xc0')
    assert data[at + 5 : at + 9] == struct.pack('>HH', 8, 8)
    data[at + 5 : at + 9] = struct.pack('>HH', height, width)
    return bytes(data)


@pytest.mark.parametrize(
    'data, reason',
    [
        (png(60_000, 60_000, data=b'x'), 'image_too_large'),
        (png(25_000, 25_000, data=b'x'), 'image_too_large'),
        (png(2**32 - 1, 2**32 - 1, data=b'x'), 'image_too_large'),
        (png(1, 20_000), 'image_too_long'),
        (png(0, 5, data=b'x'), 'undecodable_image'),
        (png(5, 5, data=b'x'), 'undecodable_image'),
        (jpeg(65_500, 16_000), 'image_too_large'),
        (jpeg(8, 65_500), 'image_too_long'),
        (jpeg(8, 0), 'undecodable_image'),
    ],
    ids=lambda value: value if isinstance(value, str) else 'file',
)
def test_files_that_claim_a_size_are_refused_before_they_are_decoded(data, reason, monkeypatch):
    if 'too' in reason:
        monkeypatch.setattr(cv2, 'imdecode', None)
    refused(file(data), reason)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_every_shorter_file_is_refused(suffix):
    data = cv2.imencode(suffix, BGR)[1].tobytes()
    for size in [*range(0, len(data), 7), len(data) - 1]:
        refused(file(data[:size]), 'undecodable_image')
    decoded = messages.decode_image(file(data + bytes(100)))  # a driver's buffer is larger
    np.testing.assert_array_equal(decoded, messages.decode_image(file(data)))


def test_what_is_no_picture_in_a_file_costs_nothing(monkeypatch):
    """1 kB of text in a PNG unpacks to a megabyte; OpenCV would unpack each."""
    texts = [chunk(b'zTXt', b'%d\0\0' % i + zlib.compress(bytes(1_000_000))) for i in range(50)]
    seen, decode = [], cv2.imdecode
    monkeypatch.setattr(cv2, 'imdecode', lambda *args: seen.append(args[0]) or decode(*args))
    assert messages.decode_image(file(png(8, 8, *texts))).shape == (8, 8, 3)
    assert bytes(seen[0]) == png(8, 8)


def test_a_file_of_countless_parts_is_refused():
    progressive = cv2.imencode('.jpg', BGR, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert messages.decode_image(file(progressive)).shape == (HEIGHT, WIDTH, 3)
    last = progressive.rindex(b'\xff\xda')
    refused(file(progressive[:-2] + 30 * progressive[last:-2] + b'\xff\xd9'), 'undecodable_image')
    refused(file(b'\xff\xd8' + 2000 * b'\xff\xe0\0\2' + jpeg(8, 8)[2:]), 'undecodable_image')


@pytest.mark.parametrize(
    'stored',
    [GRAY, wide(GRAY), wide(BGR), BGRA, wide(BGRA)],
    ids=['gray', 'gray16', 'colour16', 'alpha', 'alpha16'],
)
def test_png_of_any_depth_and_with_alpha(stored):
    expected = GRAY_RGB if stored.ndim == 2 else RGB
    decoded = messages.decode_image(file(cv2.imencode('.png', stored)[1]))
    np.testing.assert_allclose(decoded, expected, atol=1)


@pytest.mark.parametrize(
    'kind', ['16UC1; compressedDepth png', '32FC1; compressedDepth', '16UC1; png compressed ']
)
def test_depth_on_the_compressed_transport_is_no_picture(kind):
    text = refused(file(cv2.imencode('.png', wide(GRAY))[1], kind), 'unsupported_encoding')
    assert 'not a colour or gray image: remap' in text


@pytest.mark.parametrize('suffix', ['.webp', '.tiff', '.bmp'])
def test_other_files_are_refused(suffix):
    data = cv2.imencode(suffix, BGR)[1]
    assert 'neither JPEG nor PNG' in refused(file(data, suffix), 'undecodable_image')
