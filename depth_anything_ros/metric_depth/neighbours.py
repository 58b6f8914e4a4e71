# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one camera's metres say to another that is fixed to it: points that both see, as anchors.

Scale and shift of relative depth are each image's own: by the line of a camera beside it, an image
of nuScenes is off by a factor of 3.8. Points have no such freedom: what one camera has measured is
where it is for the other, as far as their views overlap (docs/cameras.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors, project_points, SensorPoints
from depth_anything_ros.metric_depth.glance import lattice
from depth_anything_ros.poses import Matrix

# Standard deviation of log depth of all of an image by the strip at its side that a neighbour sees:
# measured on nuScenes, benchmarks/several_cameras.py.
DOUBT = 0.25
_LATTICE = (90, 160)  # rows, columns of the points that are handed on


@dataclass(frozen=True, eq=False)
class Neighbour:
    """Points that another camera has measured; a source of anchors for one that has no others.

    Attributes:
        xyz_m: Nx3 float32 positions in the optical frame of that camera, in metres.
        sigma: standard deviation of their log depth, all alike.
        T_camera_other: 4x4, that camera's optical frame in this one's.
    """

    xyz_m: NDArray[np.float32]
    sigma: float
    T_camera_other: Matrix
    name: str = 'neighbour'

    def anchors(self, camera: Camera, config: ScaleConfig) -> Anchors:
        """Return the points that lie in the image and are not hidden there."""
        points = SensorPoints(self.xyz_m, 0, '')
        found = project_points(points, self.T_camera_other, camera, config)
        return replace(found, sigma=np.full(len(found), self.sigma, np.float32))


def measured_points(
    depth: NDArray[np.float32] | NDArray[np.uint16], camera: Camera
) -> NDArray[np.float32]:
    """Return some thousand points of a depth image, Nx3 in metres, in its camera's optical frame.

    Args:
        depth: rows x columns, metres with NaN invalid, or millimetres with 0 invalid.
        camera: pinhole of the image; its R leads from the optical frame to the image's axes.
    """
    (height, width), (rows, columns) = depth.shape, _LATTICE
    v, u = np.meshgrid(*lattice(height, width, rows, columns), indexing='ij')
    z_m = depth[v, u].astype(np.float32) * np.float32(1e-3 if depth.dtype.kind == 'u' else 1.0)
    known = z_m > 0
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)[known]
    rays = pixels @ np.linalg.inv(camera.K).T @ camera.R
    xyz_m: NDArray[np.float32] = (rays * z_m[known][:, None]).astype(np.float32)
    return xyz_m


def is_known(sigma: float) -> bool:
    """Tell whether depth is sure enough to be handed on."""
    return math.isfinite(sigma) and sigma <= DOUBT
