# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a camera moved, in metres, from corners whose depth is known in one image.

An image with metric depth makes points of its corners, and where those are in the next images says
where the camera is (perspective from n points, RANSAC), or how far from there odometry takes it to
be.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.corners import (
    detect,
    directions,
    follow,
    followed_camera,
    followed_image,
    Gray,
    Pixels,
    projected,
)

Array = NDArray[np.float64]

_CORNERS = 384
_UNSURE = 0.12  # log depth: a corner with a larger sigma is not used
_OFF_PX = 1.2  # farther from where it should be, a corner does not fit
_TRIES, _CONFIDENCE = 200, 0.999
_TURN_RAD = 0.003  # by which stamps and a camera that shakes are off
_NOISE_PX = 1.0  # of a corner that is followed
_ROUNDS = 10
_NEAREST_M = 0.05
_FEWEST = 12  # corners that fit
_LEFT, _ENOUGH = 0.5, 30  # share of the first corners, and corners, below which few are left


class CameraMotion:
    """Follows a camera from an image with known depth.

    Attributes:
        few_left: whether the last image was placed by so few corners that it should be the next
            to start from.
    """

    def __init__(self, camera: Camera) -> None:
        """Start without an image.

        Args:
            camera: calibrated, of the images as they come.
        """
        self._camera = camera.rectified()
        self._small = followed_camera(camera)
        self._focal_px = float(self._small.rectified().K[0, 0])
        self._gray: Gray = np.zeros((0, 0), np.uint8)
        self._start: Pixels = np.zeros((0, 2), np.float32)
        self._points_m: Array = np.zeros((0, 3))
        self._step = np.eye(4)  # from one image to the next, on rectified axes
        self._pose = np.eye(4)
        self._begun = 0
        self.few_left = True

    def start(
        self,
        image: NDArray[np.uint8],
        depth_m: NDArray[np.float32],
        stddev_m: NDArray[np.float32],
    ) -> None:
        """Take an image to start from; the camera goes on as it did.

        Args:
            image: HxWx3 uint8 RGB as it came, distorted or not.
            depth_m: HxW of the rectified image, NaN where unknown.
            stddev_m: HxW standard deviation.
        """
        self._gray = followed_image(image, self._small)
        corners = detect(self._gray, np.zeros((0, 2), np.float32), _CORNERS)
        xy = directions(self._small, corners)
        K = self._camera.K
        u, v = np.nan_to_num(np.rint(K[:2, :2] @ xy.T + K[:2, 2:]), nan=-1.0).astype(int)
        height, width = depth_m.shape
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        corners, xy, u, v = corners[inside], xy[inside], u[inside], v[inside]
        z_m = depth_m[v, u].astype(np.float64)
        with np.errstate(invalid='ignore'):
            sure = stddev_m[v, u] < _UNSURE * z_m  # NaN is not
        self._start = corners[sure]
        self._points_m = np.pad(xy[sure], ((0, 0), (0, 1)), constant_values=1.0) * z_m[sure, None]
        self._pose, self._begun, self.few_left = np.eye(4), len(self._start), False

    def follow(self, image: NDArray[np.uint8]) -> Array | None:
        """Find the camera in the next image.

        Args:
            image: HxWx3 uint8 RGB, about where the last one was taken.

        Returns:
            4x4, from the rectified axes of the image that was started from to those of this one;
            None where the corners are lost.
        """
        gray = followed_image(image, self._small)
        guess = self._step @ self._pose
        there = self._points_m @ guess[:3, :3].T + guess[:3, 3]
        corners, found = follow(
            self._gray, gray, self._start, projected(self._small, there)
        )
        xy = directions(self._small, corners)
        found &= np.isfinite(xy[:, 0])
        pose, fitting = self._placed(self._points_m[found], xy[found], guess)
        self.few_left = fitting < max(_LEFT * self._begun, _ENOUGH)
        if pose is None:
            return None
        self._step, self._pose = pose @ np.linalg.inv(self._pose), pose
        return pose

    def off(
        self, image: NDArray[np.uint8], told: Array, sigma_rad: float
    ) -> tuple[Array, float] | None:
        """Compare where the camera is said to be with where an image shows it.

        Args:
            image: HxWx3 uint8 RGB, distorted or not.
            told: 4x4, from the rectified axes of the image that was started from to those of
                this one.
            sigma_rad: standard deviation of its turn.

        Returns:
            What is to be added to the translation, 3 in metres, and the standard deviation of
            that; None where too few corners are found.
        """
        gray = followed_image(image, self._small)
        there = self._points_m @ told[:3, :3].T + told[:3, 3]
        corners, found = follow(self._gray, gray, self._start, projected(self._small, there))
        xy = directions(self._small, corners)
        found &= np.isfinite(xy[:, 0]) & (there[:, 2] > _NEAREST_M)
        self.few_left = found.sum() < max(_LEFT * self._begun, _ENOUGH)
        if found.sum() < _FEWEST:
            return None
        sigma_rad = math.hypot(sigma_rad, _TURN_RAD)
        return _displaced(there[found], xy[found], sigma_rad, _NOISE_PX / self._focal_px)

    def _placed(self, points_m: Array, xy: Array, guess: Array) -> tuple[Array | None, int]:
        """Return the pose from which points are seen where they are, and how many fit."""
        if len(xy) < _FEWEST:
            return None, 0
        axes = np.eye(3)
        found, turn, shift_m, fitting = cv2.solvePnPRansac(
            points_m,
            xy,
            axes,
            None,
            cv2.Rodrigues(guess[:3, :3])[0],
            guess[:3, 3:].copy(),
            useExtrinsicGuess=True,
            iterationsCount=_TRIES,
            reprojectionError=_OFF_PX / self._focal_px,
            confidence=_CONFIDENCE,
            flags=cv2.SOLVEPNP_ITERATIVE,
        )
        if not found or fitting is None or len(fitting) < _FEWEST:
            return None, 0
        which = fitting[:, 0]
        turn, shift_m = cv2.solvePnPRefineLM(
            points_m[which], xy[which], axes, None, turn, shift_m
        )
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], shift_m[:, 0]
        return (pose, len(which)) if np.isfinite(pose).all() else (None, 0)


def _displaced(points_m: Array, xy: Array, sigma_rad: float, noise: float) -> tuple[Array, float]:
    """Return by how much points are displaced together, and sigma of that.

    Args:
        points_m: Nx3, where they are said to be.
        xy: Nx2 on z = 1, where they are seen; those that move by themselves are few.
        sigma_rad: standard deviation of a turn of all of them, which is found too.
        noise: standard deviation of where they are seen.
    """
    x, y = points_m[:, :2].T / points_m[:, 2]
    near, none = 1 / points_m[:, 2], np.zeros(len(points_m))
    # What a small shift along x, y, z and a small turn about them do to x and y.
    A = np.stack(
        [
            np.stack([near, none, -x * near, -x * y, 1 + x * x, -y], axis=1),
            np.stack([none, near, -y * near, -1 - y * y, x * y, x], axis=1),
        ],
        axis=1,
    )
    off = xy - np.stack([x, y], axis=1)
    known = np.diag([1e-9, 1e-9, 1e-9, *3 * [sigma_rad**-2]])
    moved = np.zeros(6)
    for _ in range(_ROUNDS):  # weights of Cauchy's distribution
        left = np.linalg.norm(off - A @ moved, axis=1)
        weight = 1 / (noise**2 + left**2)
        H = np.einsum('n,nki,nkj->ij', weight, A, A) + known
        moved = np.linalg.solve(H, np.einsum('n,nki,nk->i', weight, A, off))
    return moved[:3], math.sqrt(float(np.trace(np.linalg.inv(H)[:3, :3])))
