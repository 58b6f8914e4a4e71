# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps of other times as anchors of an image: where they lie in it, and what moved meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors, project_points, visible
from depth_anything_ros.metric_depth.scale import ScaleEstimator, ScaleFit
from depth_anything_ros.metric_depth.sources import Sweep
from depth_anything_ros.network.spec import ModelSpec

# What a turn of the camera by an angle does to the log depth of a pixel: 1 on a wall that is seen
# under 45 degrees, 2 under 27.
_SLANT = 2.0
_NEIGHBOUR_PX = 4.0
# Two sweeps that differ by more, in log depth and in standard deviations, saw different things.
_MOVED, _MOVED_SIGMAS = 0.1, 3.0


@dataclass(frozen=True, eq=False)
class CarriedSweep:
    """A sweep of another time, where it lies at the time of an image.

    Attributes:
        sweep: with the pose of the sensor then in the camera's optical frame now.
        age_s: seconds from the sweep's image to this one; negative from one that comes later.
        sigma_m: standard deviation of the place that it was brought to.
        sigma_rad: standard deviation of how it is turned there.
    """

    sweep: Sweep
    age_s: float
    sigma_m: float
    sigma_rad: float = 0.0


@dataclass(frozen=True, eq=False)
class Carried:
    """Sweeps of other times as anchors of an image; a Source.

    Attributes:
        sweeps: one, or the one before and the one after.
        placed_by: who says how the camera moved meanwhile, in words.
        name: as in the method of a fit.
    """

    sweeps: tuple[CarriedSweep, ...]
    placed_by: str = "the camera's motion"
    name: str = 'carried'

    def anchors(self, camera: Camera, config: ScaleConfig) -> Anchors:
        """Return the points that the camera can see, past those of all the sweeps.

        Where one sweep tells of another depth than the other, something has moved between them:
        neither says what is there now.
        """
        parts = [self._projected(n, camera, config) for n in range(len(self.sweeps))]
        if len(parts) == 2:
            parts = [_unmoved(parts[0], parts[1]), _unmoved(parts[1], parts[0])]
        u, v, z_m, sigma = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ('u', 'v', 'z_m', 'sigma')
        )
        kept = visible(u, v, z_m, camera)
        ring = np.concatenate([part.ring for part in parts])
        return Anchors(u, v, z_m, ring, sigma, names=(self.name,))[kept]

    def _projected(self, number: int, camera: Camera, config: ScaleConfig) -> Anchors:
        carried = self.sweeps[number]
        points, T = carried.sweep.points, carried.sweep.T_camera_sensor
        seen = project_points(points, T, camera, config)
        place = np.hypot(np.float32(carried.sigma_m) / seen.z_m, _SLANT * carried.sigma_rad)
        sigma = np.hypot(seen.sigma, place.astype(np.float32))
        # A ring of one sweep is none of the other's.
        ring = np.where(seen.ring < 0, -1, seen.ring * len(self.sweeps) + number)
        return replace(seen, sigma=sigma, ring=ring)

    @property
    def when(self) -> str:
        """How old they are, in words."""
        return ' and '.join(
            f'{abs(one.age_s):.1f} s {"before" if one.age_s >= 0 else "after"}'
            for one in self.sweeps
        )


def fit_carried(
    carried: Carried, prediction: Tensor, camera: Camera, config: ScaleConfig, spec: ModelSpec
) -> tuple[ScaleFit, Anchors]:
    """Fit one image by itself to sweeps that were carried to it; return their anchors too."""
    anchors = carried.anchors(camera, config)
    return ScaleEstimator(replace(config, method='auto'), spec).update(
        prediction, anchors, camera, 0
    ), anchors


def _unmoved(some: Anchors, others: Anchors) -> Anchors:
    """Return the anchors of one sweep that the other does not contradict."""
    if not len(some) or not len(others):
        return some
    tree = cKDTree(np.stack([others.u, others.v], axis=1))
    distance_px, nearest = tree.query(
        np.stack([some.u, some.v], axis=1), distance_upper_bound=_NEIGHBOUR_PX
    )
    beside = np.flatnonzero(distance_px < _NEIGHBOUR_PX)
    other = nearest[beside]
    off = np.abs(np.log(some.z_m[beside] / others.z_m[other]))
    sigma = np.hypot(some.sigma[beside], others.sigma[other])
    kept = np.ones(len(some), np.bool_)
    kept[beside] = off < _MOVED + _MOVED_SIGMAS * sigma
    return some[kept]
