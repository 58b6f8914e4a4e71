# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a camera moved, in metres, from corners whose depth is known in one image.

No odometry is asked: an image with metric depth makes points of its corners, and where those are
in the next images says where the camera is (perspective from n points, RANSAC).
"""

from __future__ import annotations

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
