# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Planes of one size -> another size, on any device; on a CPU by OpenCV, five times as fast."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import torch
from torch import Tensor
import torch.nn.functional as F


def stretched(planes: Tensor, height: int, width: int) -> Tensor:
    """Interpolate planes bilinearly, half a pixel being half a pixel at either size.

    Args:
        planes: CxHxW float32.
        height: rows wanted.
        width: columns wanted.

    Returns:
        C x height x width float32.
    """
    if planes.device.type != 'cpu':
        return F.interpolate(planes[None], (height, width), mode='bilinear')[0]
    wide = planes.new_empty(len(planes), height, width)
    for plane, out in zip(planes.numpy(), wide.numpy()):
        cv2.resize(plane, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
    return wide


def enlarged(planes: Tensor, factor: float, height: int, width: int) -> Iterator[Tensor]:
    """Enlarge planes by a factor and cut off what goes beyond a size; yields C times HxW.

    On a CPU planes come one by one, since one is still in the cache when it is used.

    Args:
        planes: CxRowsxColumns float32.
        factor: pixels per cell, which need not be a whole number.
        height: at most rows * factor.
        width: at most columns * factor.
    """
    if planes.device.type != 'cpu':
        # What is a whole number but for rounding must not be cut by one.
        wide = F.interpolate(planes[None], scale_factor=factor * (1 + 1e-9), mode='bilinear')
        yield from wide[0, :, :height, :width]
        return
    for plane in planes.numpy():
        pixels = cv2.resize(plane, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        yield torch.from_numpy(pixels)[:height, :width]
