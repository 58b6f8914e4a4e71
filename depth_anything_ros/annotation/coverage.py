# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How much of an image anchors tell of, in numbers and in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.anchors import Anchors

_NEAR = 1 / 40  # of the image's width: 16 px of 640
_DRAWN_WIDTH = 640
_DRAWN_M = (1.0, 80.0)  # ends of the colour scale, logarithmic, red to blue


@dataclass(frozen=True)
class Coverage:
    """Shares of an image, 0 to 1.

    Attributes:
        columns: that have an anchor within a fortieth of the width.
        rows: that have one as near.
        pixels: that are within a circle of that radius about one.
    """

    columns: float
    rows: float
    pixels: float


def coverage(anchors: Anchors, camera: Camera) -> Coverage:
    """Return how much of the image of a pinhole camera is near an anchor."""
    radius = max(1, round(_NEAR * camera.width))
    away = np.ones(camera.size, np.uint8)
    away[_pixels(anchors)] = 0
    if away.all():
        return Coverage(0.0, 0.0, 0.0)
    distance_px = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return Coverage(
        _near(away.min(axis=0), radius),
        _near(away.min(axis=1), radius),
        float((np.square(distance_px) < radius**2 + 0.5).mean()),  # whole but for rounding
    )


def draw_anchors(image_rgb: NDArray[np.uint8], camera: Camera, anchors: Anchors) -> bytes:
    """Return a JPEG of an image, rectified, with its anchors coloured by depth.

    Args:
        image_rgb: HxWx3 as it came.
        camera: its model.
        anchors: of the rectified image.
    """
    picture: Any = image_rgb[..., ::-1]
    if camera.is_distorted:
        places = camera.rectification_map(camera.rectified()).astype(np.float32)
        picture = cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR)
    scale = _DRAWN_WIDTH / camera.width
    size = (_DRAWN_WIDTH, max(1, round(camera.height * scale)))
    drawn = np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    drawn = drawn // 2 + 40  # so that the points stand out
    near_m, far_m = _DRAWN_M
    level = np.log(far_m / anchors.z_m.clip(near_m, far_m)) / np.log(far_m / near_m)
    turbo: Any = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)
    colours = turbo[(255 * level).astype(np.uint8), 0]
    for u, v, colour in zip(anchors.u * scale, anchors.v * scale, colours.tolist()):
        cv2.circle(drawn, (round(float(u)), round(float(v))), 2, colour, cv2.FILLED)
    return bytes(cv2.imencode('.jpg', drawn)[1])


def _pixels(anchors: Anchors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.rint(anchors.v).astype(np.int64), np.rint(anchors.u).astype(np.int64)


def _near(away: NDArray[np.uint8], radius: int) -> float:
    """Return the share of a line's places that have a zero within the radius."""
    kernel = np.ones(2 * radius + 1)
    return float((np.convolve(away == 0, kernel)[radius:-radius] > 0).mean())
