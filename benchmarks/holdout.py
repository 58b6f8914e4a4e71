# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Honest hold-out for sparse depth: whole rings, split before anything else happens to the points.

Every fourth ring is kept for the test. Anchors come from the other rings alone, so neither the
occlusion test nor the fit ever sees a test point. Test points are screened by the occlusion test
of the full scan, a rule that knows no method; unscreened scores are reported too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.evaluation.frames import Frame
from depth_anything_ros.metric_depth.anchors import Anchors, project_points, SensorPoints

LIDAR_LINES = 64  # of the lidar that depth completion thins
LINES = (64, 16, 8, 4)
DENSITIES: tuple[int | str, ...] = (4, 8, 16, 'all')
_TEST_EVERY, _FIRST_TEST = 4, 2
_MIN_POINTS_PER_RING = 20
_MAX_TEST_POINTS = 1000


@dataclass(frozen=True, eq=False)
class Split:
    """One frame, divided.

    Attributes:
        points: rings ('all', 16, 8, 4 or 'planar') -> points of training rings; for a lidar of 64
            lines also '64 lines' to '4 lines', every n-th of its lines whether shown or not, less
            those held out.
        anchors: the same, projected.
        test: screened test points.
        test_unscreened: all test points inside image and range.
    """

    points: dict[int | str, SensorPoints]
    anchors: dict[int | str, Anchors]
    test: Anchors
    test_unscreened: Anchors


def split(frame: Frame, config: ScaleConfig) -> Split:
    """Hold out every fourth ring that the image shows, and thin the others."""
    everything = _project(frame, frame.points, config)
    assert frame.points.ring is not None
    shown = shown_rings(frame, config)
    held_out = shown[_FIRST_TEST::_TEST_EVERY]
    rest = np.setdiff1d(shown, held_out)
    points: dict[int | str, SensorPoints] = {}
    for density in DENSITIES:
        if density == 'all':
            kept = rest
        elif int(density) <= len(rest):
            kept = rest[np.linspace(0, len(rest) - 1, int(density)).round().astype(int)]
        else:
            continue
        points[density] = _rings(frame.points, kept)
    if int(frame.points.ring.max()) + 1 == LIDAR_LINES:
        for lines in LINES:
            kept = np.setdiff1d(np.arange(0, LIDAR_LINES, LIDAR_LINES // lines), held_out)
            points[f'{lines} lines'] = _rings(frame.points, kept)
    points['planar'] = _rings(frame.points, levelest_ring(frame, rest))
    anchors = {density: _project(frame, some, config) for density, some in points.items()}
    is_test = torch.isin(everything.ring, torch.from_numpy(held_out))
    hidden_too = _unscreened(frame.points, frame.T_camera_sensor, frame.camera, held_out, config)
    return Split(points, anchors, _thinned(everything[is_test]), _thinned(hidden_too))


def shown_rings(frame: Frame, config: ScaleConfig) -> NDArray[np.int64]:
    """Return the rings of which the image shows at least 20 points, in order."""
    anchors = _project(frame, frame.points, config)
    rings, counts = torch.unique(anchors.ring, return_counts=True)
    shown: NDArray[np.int64] = rings[counts >= _MIN_POINTS_PER_RING].numpy()
    return shown


def project_rings(frame: Frame, rings: NDArray[np.int64], config: ScaleConfig) -> Anchors:
    """Project some of the rings alone, as if the others were not."""
    return _project(frame, _rings(frame.points, rings), config)


def levelest_ring(frame: Frame, rings: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose the ring closest to level with the sensor: what a 2D scanner sees."""
    assert frame.points.ring is not None
    xyz_m = frame.points.xyz_m
    slope = np.abs(xyz_m[:, 2]) / np.linalg.norm(xyz_m[:, :2], axis=1).clip(1e-3)
    level = [float(np.median(slope[frame.points.ring == ring])) for ring in rings]
    return rings[[int(np.argmin(level))]]


def shifted(anchors: Anchors, pixels: float, camera: Camera) -> Anchors:
    """Move all anchors sideways, as a wrong calibration does."""
    u = anchors.u + pixels
    return replace(anchors, u=u)[(u >= -0.5) & (u < camera.width - 0.5)]


def noisy(anchors: Anchors, sigma: float, seed: int) -> Anchors:
    """Multiply depths by 1 + sigma times a normal deviate."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(anchors), generator=generator)
    return replace(anchors, z_m=anchors.z_m * (1 + sigma * noise).clamp(min=0.1))


def with_outliers(anchors: Anchors, share: float, seed: int) -> Anchors:
    """Replace a share of the depths by log-uniform ones between 2 and 60 m."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(anchors), generator=generator) < share
    z_m = 2.0 * 30.0 ** torch.rand(len(anchors), generator=generator)
    return replace(anchors, z_m=torch.where(wrong, z_m, anchors.z_m))


def _project(frame: Frame, points: SensorPoints, config: ScaleConfig) -> Anchors:
    return project_points(points, frame.T_camera_sensor, frame.camera, config)


def _rings(points: SensorPoints, rings: NDArray[np.int64]) -> SensorPoints:
    assert points.ring is not None
    kept = np.isin(points.ring, rings)
    return replace(points, xyz_m=points.xyz_m[kept], ring=points.ring[kept])


def _unscreened(
    points: SensorPoints,
    T_camera_sensor: NDArray[np.float64],
    camera: Camera,
    rings: NDArray[np.int64],
    config: ScaleConfig,
) -> Anchors:
    """Project rings without the occlusion test: each ring alone hides nothing but itself."""
    parts = [
        project_points(_rings(points, np.array([ring])), T_camera_sensor, camera, config)
        for ring in rings
    ]
    u, v, z, ring = (
        torch.cat([getattr(part, name) for part in parts]) for name in ('u', 'v', 'z_m', 'ring')
    )
    return Anchors(u, v, z, ring)


def _thinned(test: Anchors) -> Anchors:
    step = max(1, -(-len(test) // _MAX_TEST_POINTS))
    return test[torch.arange(0, len(test), step)]
