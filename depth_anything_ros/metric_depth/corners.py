# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Corners of an image, and where they are in another one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera

Gray = NDArray[np.uint8]
Pixels = NDArray[np.float32]
Array = NDArray[np.float64]

_SHRUNK = 2  # corners are looked for at half size, where that takes a quarter of the time
_TILES = (6, 8)  # rows, columns: where little is to be seen the best of that is taken
_BLOCK_PX = 5  # at half size
_APART_PX = 7  # at half size
_EDGE = 0.083  # k: no response where one eigenvalue is under a tenth of the other
# Response of a gradient of .7 gray levels a pixel at half size: less is lost in a camera's noise.
_LEAST = 6e-10
_WINDOW = (11, 11)
_LEVELS = 3
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 6, 0.03)
_THERE_AND_BACK_PX = 0.5
_LONGEST_SIDE_PX = 640  # of the image that corners are followed in
_LEAST_Z = 0.05  # of a direction that is ahead


def detect(gray: Gray, known: Pixels, most: int) -> Pixels:
    """Find corners where none are known yet (Harris and Stephens 1988), all over the image.

    Edges are none: what is followed along an edge slides, and where the edge leads the way that
    the camera goes no other view can tell.

    Args:
        gray: HxW uint8.
        known: Nx2 pixels (u, v) that new corners keep away from.
        most: corners that there may be, with those that are known.

    Returns:
        Mx2 pixels (u, v).
    """
    rows, columns = (n // _SHRUNK for n in gray.shape)
    if min(rows, columns) < _BLOCK_PX:
        return np.zeros((0, 2), np.float32)
    small = cv2.resize(gray, (columns, rows), interpolation=cv2.INTER_AREA)
    response = cv2.cornerHarris(small, _BLOCK_PX, 3, _EDGE)
    peak = response >= cv2.dilate(response, np.ones((_APART_PX, _APART_PX), np.uint8))
    peak &= response > _LEAST
    scale = np.array([columns / gray.shape[1], rows / gray.shape[0]], np.float32)
    taken = np.zeros((rows, columns), np.uint8)
    u, v = np.rint((known + 0.5) * scale - 0.5).astype(int).T
    taken[v.clip(0, rows - 1), u.clip(0, columns - 1)] = 1
    peak &= cv2.dilate(taken, np.ones((2 * _APART_PX - 1, 2 * _APART_PX - 1), np.uint8)) == 0
    there = _tiles(u, v, rows, columns)
    v, u = np.nonzero(peak)
    v, u = (x[np.argsort(-response[peak], kind='stable')] for x in (v, u))
    tile = _tiles(u, v, rows, columns)
    order = np.argsort(tile, kind='stable')
    u, v, tile = u[order], v[order], tile[order]
    rank = np.arange(len(tile)) - np.searchsorted(tile, tile)
    count = _TILES[0] * _TILES[1]
    best = rank < (most // count - np.bincount(there, minlength=count))[tile]
    return np.asarray((np.stack([u, v], axis=1)[best] + 0.5) / scale - 0.5, np.float32)


def _tiles(
    u: NDArray[np.int64], v: NDArray[np.int64], rows: int, columns: int
) -> NDArray[np.int64]:
    row = (v * _TILES[0] // rows).clip(0, _TILES[0] - 1)
    column = (u * _TILES[1] // columns).clip(0, _TILES[1] - 1)
    tile: NDArray[np.int64] = row * _TILES[1] + column
    return tile


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


def followed_camera(camera: Camera) -> Camera:
    """Return the camera of the image that corners are followed in."""
    factor = _LONGEST_SIDE_PX / max(camera.size)
    if factor >= 1:
        return camera
    return camera.scaled(
        max(1, round(factor * camera.width)), max(1, round(factor * camera.height))
    )


def followed_image(image: NDArray[np.uint8], small: Camera) -> Gray:
    """Return an HxWx3 uint8 RGB image in gray and of the size of that camera."""
    if image.shape[:2] != small.size:
        image = np.asarray(cv2.resize(image, small.size[::-1], interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def directions(camera: Camera, pixels: Pixels) -> Array:
    """Return where pixels look, Nx2 on z = 1 of the rectified axes; NaN where that is not ahead."""
    xy = camera.undistort(pixels)
    return after_turn(rotation(camera.R), xy) if camera.is_distorted else xy


def projected(camera: Camera, there: Array) -> Pixels:
    """Return about where Nx3 directions on rectified axes are in the image."""
    if camera.is_distorted:
        there = there @ camera.R
    xy = there[:, :2] / np.maximum(there[:, 2:], _LEAST_Z)
    return camera.distort(xy).astype(np.float32)


def after_turn(T: Array, xy: Array) -> Array:
    """Return directions as seen after a turn, Nx2 on z = 1; NaN where that is not ahead."""
    there = xy @ T[:3, :2].T + T[:3, 2]
    there[there[:, 2] < _LEAST_Z] = np.nan
    ahead: Array = there[:, :2] / there[:, 2:]
    return ahead


def rotation(R: Array) -> Array:
    """Return a 3x3 rotation as a 4x4 transform."""
    T = np.eye(4)
    T[:3, :3] = R
    return T
