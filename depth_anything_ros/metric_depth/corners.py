# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Corners of an image, and where they are in another one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Pixels = NDArray[np.float32]

_SHRUNK = 2  # corners are looked for at half size, where that takes a tenth of the time
_QUALITY = 0.01  # of the weaker eigenvalue, in that of the best corner
_EDGE = 0.083  # Harris' k: no response where one eigenvalue is under a tenth of the other
_APART_PX = 14.0
_BLOCK_PX = 5  # at half size
_WINDOW = (11, 11)
_LEVELS = 2
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.01)
_THERE_AND_BACK_PX = 0.5


def detect(gray: Gray, known: Pixels, most: int) -> Pixels:
    """Find corners where none are known yet (Shi and Tomasi 1994), and no edges.

    What is followed along an edge slides, and where the edge leads the way that the camera goes no
    other view can tell.

    Args:
        gray: HxW uint8.
        known: Nx2 pixels (u, v) that new corners keep away from.
        most: how many, the best first.

    Returns:
        Mx2 pixels (u, v).
    """
    rows, columns = (n // _SHRUNK for n in gray.shape)
    if most <= 0 or min(rows, columns) < _BLOCK_PX:
        return np.zeros((0, 2), np.float32)
    small = cv2.resize(gray, (columns, rows), interpolation=cv2.INTER_AREA)
    free = np.full((rows, columns), 255, np.uint8)
    scale = np.array([columns / gray.shape[1], rows / gray.shape[0]], np.float32)
    for u, v in np.rint((known + 0.5) * scale - 0.5).astype(int):
        cv2.circle(free, (int(u), int(v)), round(_APART_PX / _SHRUNK), 0, -1)
    found = cv2.goodFeaturesToTrack(
        small, most, _QUALITY, _APART_PX / _SHRUNK, mask=free, blockSize=_BLOCK_PX
    )
    if found is None:
        return np.zeros((0, 2), np.float32)
    found = found.reshape(-1, 2)
    u, v = np.rint(found).astype(int).T
    corners = found[cv2.cornerHarris(small, _BLOCK_PX, 3, _EDGE)[v, u] > 0]
    return np.asarray((corners + 0.5) / scale - 0.5, np.float32)


def follow(
    before: Gray, after: Gray, start: Pixels, guess: Pixels
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Find corners of one image in another (pyramidal Lucas and Kanade, Bouguet 2001).

    Args:
        before: HxW uint8.
        after: HxW uint8.
        start: Nx2 pixels (u, v) in the first.
        guess: Nx2 about where they are in the second.

    Returns:
        Nx2 pixels in the second, and which of them are inside and lead back to their start.
    """
    if not len(start):
        return guess, np.zeros(0, np.bool_)
    end, found = _flow(before, after, start, guess, _LEVELS)
    back, found_back = _flow(after, before, end, start, 0)  # a matter of a pixel
    height, width = after.shape
    kept = (found.ravel() == 1) & (found_back.ravel() == 1)
    kept &= np.linalg.norm(back - start, axis=1) < _THERE_AND_BACK_PX
    kept &= (end >= 0).all(axis=1) & (end[:, 0] <= width - 1) & (end[:, 1] <= height - 1)
    return end, kept


def _flow(
    before: Gray, after: Gray, start: Pixels, guess: Pixels, levels: int
) -> tuple[Pixels, NDArray[np.uint8]]:
    end, found, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        np.ascontiguousarray(start, np.float32),
        np.array(guess, np.float32),
        winSize=_WINDOW,
        maxLevel=levels,
        criteria=_STEPS,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(end, np.float32), np.asarray(found)
