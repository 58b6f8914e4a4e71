# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where each pixel looks, in the frame that a cloud or a scan is given in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.poses import Matrix


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """The viewing rays of an image.

    Attributes:
        frame: TF frame of the rays; empty for the optical frame of the image.
        directions: 3xHxW float32; a pixel at depth z is at origin_m + z * direction.
        origin_m: of all rays, 3 float64, in metres.
    """

    frame: str
    directions: NDArray[np.float32]
    origin_m: NDArray[np.float64]

    @classmethod
    def of(
        cls, camera: Camera, stride: int, frame: str = '', T_frame_camera: Matrix | None = None
    ) -> Viewpoint:
        """Return the rays of every stride-th row and column.

        Args:
            camera: the pinhole camera of the rectified image.
            stride: in pixels.
            frame: the TF frame to give them in.
            T_frame_camera: 4x4 pose of the image's optical frame in it; None for that frame itself,
                rectified.
        """
        rays = camera.rays()[::stride, ::stride]
        origin_m = np.zeros(3)
        if T_frame_camera is not None:
            rays = rays @ (T_frame_camera[:3, :3] @ camera.R.T).T
            origin_m = T_frame_camera[:3, 3].copy()
        directions = np.ascontiguousarray(rays.transpose(2, 0, 1), dtype=np.float32)
        return cls(frame, directions, origin_m)

    def planes_m(self, z_m: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return x, y and z of every pixel in metres, each HxW, NaN where depth is."""
        return [
            direction * z_m + np.float32(origin_m) if origin_m else direction * z_m
            for direction, origin_m in zip(self.directions, self.origin_m)
        ]
