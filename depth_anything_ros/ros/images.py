# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image messages -> arrays: colour and depth, of any encoding that has a row in the table."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.config import LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.compressed import picture_file

# Encoding -> (channels as stored, sample type, OpenCV conversion to RGB or None when it is RGB).
ENCODINGS: dict[str, tuple[int, str, int | None]] = {
    'rgb8': (3, 'u1', None),
    'bgr8': (3, 'u1', cv2.COLOR_BGR2RGB),
    'rgba8': (4, 'u1', cv2.COLOR_RGBA2RGB),
    'bgra8': (4, 'u1', cv2.COLOR_BGRA2RGB),
    'mono8': (1, 'u1', cv2.COLOR_GRAY2RGB),
    '8UC1': (1, 'u1', cv2.COLOR_GRAY2RGB),
    '8UC3': (3, 'u1', cv2.COLOR_BGR2RGB),
    '8UC4': (4, 'u1', cv2.COLOR_BGRA2RGB),
    'rgb16': (3, 'u2', None),
    'bgr16': (3, 'u2', cv2.COLOR_BGR2RGB),
    'rgba16': (4, 'u2', cv2.COLOR_RGBA2RGB),
    'bgra16': (4, 'u2', cv2.COLOR_BGRA2RGB),
    'mono16': (1, 'u2', cv2.COLOR_GRAY2RGB),
    # ROS names a Bayer pattern by its first row, OpenCV by its second.
    'bayer_rggb8': (1, 'u1', cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': (1, 'u1', cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': (1, 'u1', cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': (1, 'u1', cv2.COLOR_BayerGB2RGB),
    'bayer_rggb16': (1, 'u2', cv2.COLOR_BayerBG2RGB),
    'bayer_bggr16': (1, 'u2', cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg16': (1, 'u2', cv2.COLOR_BayerGR2RGB),
    'bayer_grbg16': (1, 'u2', cv2.COLOR_BayerGB2RGB),
    'yuv422': (2, 'u1', cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': (2, 'u1', cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': (2, 'u1', cv2.COLOR_YUV2RGB_YUYV),
    'yuyv': (2, 'u1', cv2.COLOR_YUV2RGB_YUYV),
    'nv21': (1, 'u1', cv2.COLOR_YUV2RGB_NV21),
    'nv24': (1, 'u1', cv2.COLOR_YUV2RGB_NV12),
}
# Semi-planar encodings: rows of samples stored per image row.
_PLANE_ROWS = {'nv21': 1.5, 'nv24': 3.0}
DEPTH_ENCODINGS = {'32FC1': 'f4', '16UC1': 'u2'}  # -> sample type; metres and millimetres


def decode_image(message: Any, limits: LimitsConfig = LimitsConfig()) -> NDArray[np.uint8]:
    """Decode a sensor_msgs/Image or CompressedImage.

    Args:
        message: Image in any encoding of the table above, or CompressedImage (JPEG or PNG).
        limits: a larger image is refused before memory is taken for it.

    Returns:
        HxWx3 uint8 RGB.

    Raises:
        BadFrameError: the encoding is no colour or gray image, the data do not fit the header, or
            the image is too large.
    """
    if not hasattr(message, 'encoding'):
        return _decode_compressed(message, limits)
    stored = check_image(message, limits)
    encoding, height, width = str(message.encoding), int(message.height), int(message.width)
    _, sample, conversion = ENCODINGS[encoding]
    if encoding == 'nv24':
        return _decode_nv24(stored[..., 0], height)
    pixels = np.ascontiguousarray(stored, dtype=np.dtype(sample))
    image: Any = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    if sample == 'u2':
        image = cv2.convertScaleAbs(image, alpha=255 / 65535)
    rgb: NDArray[np.uint8] = image.reshape(height, width, 3)
    return rgb


def check_image(message: Any, limits: LimitsConfig) -> NDArray[Any]:
    """Return an Image's samples where they lie, unconverted.

    Args:
        message: Image in any encoding of the table above.
        limits: see decode_image().

    Returns:
        Rows x width x channels in the byte order of the message; a view of its data.

    Raises:
        BadFrameError: see decode_image().
    """
    encoding = str(message.encoding)
    if encoding not in ENCODINGS:
        raise BadFrameError(
            'unsupported_encoding',
            f'image encoding "{encoding[:40]}" is not a colour or gray image; supported are '
            f'{", ".join(ENCODINGS)}',
        )
    channels, sample, _ = ENCODINGS[encoding]
    height, width = int(message.height), int(message.width)
    rows = int(height * _PLANE_ROWS.get(encoding, 1.0))
    stored = _rows(message, rows, channels, sample, limits)
    if (channels == 2 and width % 2) or (encoding in _PLANE_ROWS and (width % 2 or height % 2)):
        raise BadFrameError(
            'odd_size',
            f'image is {width}x{height}, but in {encoding} neighbours share their colour, so that '
            'its sides must be even: set an even size in the camera\'s driver',
        )
    return stored


def depth_plane(message: Any, limits: LimitsConfig = LimitsConfig()) -> NDArray[np.float32]:
    """Return a depth image message as HxW float32 in metres.

    Args:
        message: 32FC1 in metres, returned as it is, or 16UC1 in millimetres, of which 0 becomes
            NaN (REP 118).
        limits: a larger image is refused before memory is taken for it.

    Raises:
        BadFrameError: it has another encoding, the data do not fit the header, or the image is
            too large.
    """
    encoding = str(getattr(message, 'encoding', 'of a compressed image'))
    if encoding not in DEPTH_ENCODINGS:
        raise BadFrameError(
            'unsupported_encoding',
            f'image encoding "{encoding[:40]}" is no depth; supported are '
            f'{", ".join(DEPTH_ENCODINGS)}',
        )
    stored = _rows(message, int(message.height), 1, DEPTH_ENCODINGS[encoding], limits)[..., 0]
    values: NDArray[np.float32] = stored.astype(np.float32, copy=False)
    return np.where(values > 0, values / 1000, np.nan) if stored.dtype.kind == 'u' else values


def _rows(
    message: Any, rows: int, channels: int, sample: str, limits: LimitsConfig
) -> NDArray[Any]:
    """Return an Image's samples where they lie, rows x width x channels in their byte order."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    dtype = np.dtype(sample).newbyteorder('>' if message.is_bigendian else '<')
    needed, there = width * channels * dtype.itemsize, len(message.data)
    if not (0 < needed <= step and 0 < rows and rows * step <= there):
        raise BadFrameError(
            'truncated_image',
            f'an image message must hold rows x step bytes (here {rows} x {needed} or more), but '
            f'that of {width}x{height} {message.encoding} with step {step} has only {there} bytes '
            'of data',
        )
    check_size(width, height, limits)
    stored: NDArray[Any] = np.ndarray(
        (rows, width, channels),
        dtype,
        buffer=memoryview(message.data),
        strides=(step, channels * dtype.itemsize, dtype.itemsize),
    )
    return stored


def check_size(width: int, height: int, limits: LimitsConfig) -> None:
    """Refuse an image of which nothing is to be kept in memory.

    Raises:
        BadFrameError: it is larger, or of a longer shape, than the limits allow.
    """
    if width * height > limits.image_pixels:
        raise BadFrameError(
            'image_too_large',
            f'image of {width}x{height} has more pixels than limits.image_pixels '
            f'({limits.image_pixels}): scale it down, or raise that',
        )
    if max(width, height) > limits.image_aspect * min(width, height):
        raise BadFrameError(
            'image_too_long',
            f'image of {width}x{height} has a longer shape than limits.image_aspect '
            f'({limits.image_aspect:g}) to 1: cut it, or raise that',
        )


def _decode_nv24(planes: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """Decode full-resolution chroma by the 4:2:0 conversion, so that all YUV agree in range.

    A row of chroma is as long as two of luma, and fills two of the rows here.
    """
    luma, width = np.ascontiguousarray(planes[:height]), planes.shape[1]
    first_u, step = planes[height:], planes.strides[0]
    chroma = np.lib.stride_tricks.as_strided(first_u, (height, width, 2), (2 * step, 2, 1))
    pairs = np.ascontiguousarray(chroma[::2, ::2])
    rgb = cv2.cvtColorTwoPlane(luma, pairs, cv2.COLOR_YUV2RGB_NV12)
    return np.asarray(rgb, np.uint8)


def _decode_compressed(message: Any, limits: LimitsConfig) -> NDArray[np.uint8]:
    kind = str(message.format).partition(';')[0].strip()
    if kind in DEPTH_ENCODINGS or 'compressedDepth' in message.format:
        raise BadFrameError(
            'unsupported_encoding',
            f'compressed image of format "{message.format[:40]}" is not a colour or gray image: '
            'remap image to the camera\'s colour image',
        )
    width, height, data = picture_file(bytes(message.data))
    check_size(width, height, limits)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None or image.shape != (height, width, 3):
        raise BadFrameError(
            'undecodable_image',
            f'compressed image of format "{message.format[:40]}", {width}x{height} in {len(data)} '
            'bytes, cannot be decoded: see what publishes it',
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
