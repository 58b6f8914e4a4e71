# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth images of other cameras: Image, and CompressedImage of compressed_depth_image_transport."""

from __future__ import annotations

import array
from dataclasses import dataclass
import math
import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.config import LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.cdr import checked_stamp
from depth_anything_ros.ros.compressed import picture_file
from depth_anything_ros.ros.images import check_size, depth_plane

_HEADER = struct.Struct('<iff')  # ConfigHeader of compression_common.h: format and quantiser
_INVERSE_DEPTH = 0  # its only format
_QUANTISATION = 100.0  # depth_quantization, as the transport has it where nobody sets it
_MOST = 65535  # of 16 bits; 0 is nothing


@dataclass(frozen=True, eq=False)
class DepthReading:
    """One depth image as it came.

    Attributes:
        depth_m: HxW float32 in metres, NaN or 0 where it is blind.
        stamp_ns: time of the message in nanoseconds.
        frame_id: optical frame of the depth.
        sweep_s: it is of one moment.
    """

    depth_m: NDArray[np.float32]
    stamp_ns: int
    frame_id: str
    sweep_s: tuple[float, float] | None = (0.0, 0.0)


def decode_depth(message: Any, limits: LimitsConfig = LimitsConfig()) -> DepthReading:
    """Decode a depth image.

    Args:
        message: Image of 32FC1 in metres or 16UC1 in millimetres, or the CompressedImage that
            compressed_depth_image_transport makes of one (PNG; not RVL).
        limits: a larger image is refused before memory is taken for it.

    Raises:
        BadFrameError: it is no such image, or larger.
    """
    stamp_ns = checked_stamp(int(message.header.stamp.sec), int(message.header.stamp.nanosec))
    if hasattr(message, 'encoding'):
        depth_m = depth_plane(message, limits)
    else:
        depth_m = _decompressed(str(message.format), bytes(message.data), limits)
    return DepthReading(depth_m, stamp_ns, str(message.header.frame_id))


def encode_compressed_depth(
    depth_m: NDArray[np.float32], encoding: str, farthest_m: float
) -> dict[str, Any]:
    """Return the fields of the CompressedImage that compressed_depth_image_transport makes, as PNG.

    codec.cpp, encodeCompressedDepthImage; rounded to the nearest step where that cuts off.

    Args:
        depth_m: HxW float32 in metres, what is not finite and positive is nothing.
        encoding: of the image that a subscriber gets: 16UC1 is whole millimetres, to 65.535 m;
            32FC1 is a / z + b in 16 bits, steps of z^2 / 10100 m, from .155 m.
        farthest_m: where the steps of 32FC1 end; farther is nothing.

    Returns:
        format and data, header apart.
    """
    a, b = 0.0, 0.0
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        if encoding == '16UC1':
            steps = depth_m * 1000.0
        else:
            a = _QUANTISATION * (_QUANTISATION + 1)
            b = 1 - a / farthest_m
            steps = np.where(depth_m <= farthest_m, a / depth_m.astype(np.float64) + b, 0)
        steps = np.rint(steps)
        stored = np.where((depth_m > 0) & (steps <= _MOST), steps, 0).astype(np.uint16)
    png: NDArray[np.uint8] = cv2.imencode('.png', stored)[1]
    data = array.array('B', _HEADER.pack(_INVERSE_DEPTH, a, b))
    data.frombytes(png.tobytes())
    return {'format': f'{encoding}; compressedDepth png', 'data': data}


def _decompressed(name: str, data: bytes, limits: LimitsConfig) -> NDArray[np.float32]:
    """Undo compressed_depth_image_transport (codec.cpp, decodeCompressedDepthImage).

    Millimetres are a PNG as they are. Of metres the PNG holds a / z + b, with a and b in front.
    """
    encoding, _, kind = (part.strip() for part in name.partition(';'))
    if encoding not in ('16UC1', '32FC1') or kind not in ('compressedDepth', 'compressedDepth png'):
        raise BadFrameError(
            'unsupported_encoding',
            f'compressed image of format "{name[:40]}" is no depth that can be decoded: set the '
            'depth camera\'s compressedDepth format to png',
        )
    width, height, picture = picture_file(data[_HEADER.size :])
    check_size(width, height, limits)
    try:
        stored = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    if stored is None or stored.shape != (height, width) or stored.dtype != np.uint16:
        raise BadFrameError(
            'undecodable_image',
            f'compressed depth of format "{name[:40]}", {width}x{height} in {len(data)} bytes, '
            'holds no 16 bit PNG: see what publishes it',
        )
    values: NDArray[np.float32] = stored.astype(np.float32)
    values[values == 0] = np.nan
    if encoding == '16UC1':
        values /= 1000
        return values
    _, a, b = _HEADER.unpack_from(data)
    if not (math.isfinite(a) and math.isfinite(b) and a > 0):
        raise BadFrameError(
            'undecodable_image',
            f'compressed depth has {a:g}, {b:g} for a quantiser: see what publishes it',
        )
    with np.errstate(divide='ignore', over='ignore'):
        depth_m: NDArray[np.float32] = np.float32(a) / (values - np.float32(b))
    return depth_m
