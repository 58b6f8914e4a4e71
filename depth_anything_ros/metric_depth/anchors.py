# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse sensor points as anchors of the depth image: pixel, depth and ring of what it can see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig

# A surface at least this far from the camera (perpendicular distance of its plane) never changes
# inverse depth by more than 1 / (f * distance) from one pixel to the next.
_NEAREST_PLANE_M = 0.7
_RELATIVE_STEP = 0.05
# More points, and then anchors, than this are thinned evenly: the time of a frame is bounded.
_MOST_POINTS = 500_000
MOST_ANCHORS = 40_000
_RANGE_SIGMA_M = 0.02  # of a lidar or laser scanner: 1 to 3 cm in their data sheets
# Half the window of the local-minimum test, in pixels, for dense and for sparse scans.
_WINDOW_RADIUS_PX = (3, 15)


@dataclass(frozen=True, eq=False)
class SensorPoints:
    """Points of a lidar, a laser scanner or another range sensor.

    Attributes:
        xyz_m: Nx3 float32 positions in the sensor's frame, in metres; non-finite rows are ignored.
        stamp_ns: time of the message in nanoseconds.
        frame_id: name of the sensor's frame.
        time_s: N float64 time of each point minus the stamp in seconds, None where unknown.
        ring: N integer ring (beam) of each point, None where unknown.
    """

    xyz_m: NDArray[np.float32]
    stamp_ns: int
    frame_id: str
    time_s: NDArray[np.float64] | None = None
    ring: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.xyz_m)

    @property
    def sweep_s(self) -> tuple[float, float] | None:
        """When the first and the last point were taken, after the stamp; None where unknown."""
        if self.time_s is None or len(self) == 0:
            return None
        first_s, last_s = float(self.time_s.min()), float(self.time_s.max())
        return (first_s, last_s) if last_s > first_s else None


@dataclass(frozen=True, eq=False)
class Anchors:
    """Known depths of the depth image.

    Attributes:
        u: N float32 columns in pixels, inside the image.
        v: N float32 rows in pixels.
        z_m: N float32 depths along the optical axis in metres.
        ring: N int64 ring of the sensor, -1 where unknown.
        sigma: N float32 standard deviations of log depth by themselves; none, taken for exact.
        source: N int8, which of the names each is from; none, all from the first.
        names: of the sources.
        frame_id: name of the lidar's frame; empty where it is not known.
    """

    u: NDArray[np.float32]
    v: NDArray[np.float32]
    z_m: NDArray[np.float32]
    ring: NDArray[np.int64]
    sigma: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    source: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    names: tuple[str, ...] = ('lidar',)
    frame_id: str = ''

    def __post_init__(self) -> None:
        """Fill in what is not told."""
        for name in ('sigma', 'source'):
            told = getattr(self, name)
            if not len(told):
                object.__setattr__(self, name, np.zeros(len(self), told.dtype))

    def __len__(self) -> int:
        return len(self.z_m)

    def __getitem__(self, keep: slice | NDArray[np.bool_] | NDArray[np.int64]) -> Anchors:
        return Anchors(
            self.u[keep],
            self.v[keep],
            self.z_m[keep],
            self.ring[keep],
            self.sigma[keep],
            self.source[keep],
            self.names,
            self.frame_id,
        )

    def of(self, name: str) -> Anchors:
        """Return those from one source."""
        if self.names == (name,):
            return self
        return self[self.source == (self.names.index(name) if name in self.names else -1)]

    def without(self, name: str) -> Anchors | None:
        """Return those from the other sources, None where there is no other."""
        return joined({other: self.of(other) for other in self.names if other != name})


def joined(parts: Mapping[str, Anchors]) -> Anchors | None:
    """Return the anchors of several sources as one set, None where there are no sources.

    Args:
        parts: name of a source -> its anchors.
    """
    if not parts:
        return None
    every = list(parts.values())
    return Anchors(
        np.concatenate([part.u for part in every]),
        np.concatenate([part.v for part in every]),
        np.concatenate([part.z_m for part in every]),
        np.concatenate([part.ring for part in every]),
        np.concatenate([part.sigma for part in every]),
        np.repeat(np.arange(len(every), dtype=np.int8), [len(part) for part in every]),
        tuple(parts),
        parts['lidar'].frame_id if 'lidar' in parts else '',
    )


def deskew(points: SensorPoints, T_image_sensor: NDArray[np.float64]) -> SensorPoints:
    """Move every point to where the sensor would have seen it at the time of the image.

    Args:
        points: one sweep.
        T_image_sensor: Nx4x4, for each point the sensor frame at the time of the point to the
            sensor frame at the time of the image (both through a frame that does not move).

    Returns:
        The sweep as one rigid scan at the time of the image, without per-point times.
    """
    R, t = T_image_sensor[:, :3, :3], T_image_sensor[:, :3, 3]
    xyz_m = np.einsum('nij,nj->ni', R, points.xyz_m) + t
    return replace(points, xyz_m=xyz_m.astype(np.float32), time_s=None)


def project_points(
    points: SensorPoints,
    T_camera_sensor: NDArray[np.float64],
    camera: Camera,
    config: ScaleConfig,
) -> Anchors:
    """Project sensor points into the image and keep those that the camera can see.

    Args:
        points: N points in the sensor's frame.
        T_camera_sensor: 4x4, sensor coordinates to the camera's optical frame.
        camera: pinhole camera of the depth image; its R (optical to rectified axes) is applied.
        config: range limits.

    Returns:
        Visible anchors, at most one per pixel.
    """
    T = np.asarray(T_camera_sensor, dtype=np.float64)
    R = camera.R @ T[:3, :3]
    kept = _evenly(len(points), _MOST_POINTS)
    seen = points.xyz_m[kept]
    # NaN, infinity and what overflows fail the comparisons.
    with np.errstate(invalid='ignore', over='ignore'):
        xyz = (seen @ R.T.astype(np.float32)) + (camera.R @ T[:3, 3]).astype(np.float32)
        range_m = np.sqrt(np.einsum('ij,ij->i', seen, seen))
        near_enough = (range_m >= config.min_range) & (range_m <= config.max_range)
        index = np.flatnonzero(near_enough & (xyz[:, 2] > 0.05))
        pixels = xyz[index] @ camera.K.T.astype(np.float32)
        u, v = pixels[:, 0] / pixels[:, 2], pixels[:, 1] / pixels[:, 2]
    inside = (u >= -0.5) & (u < camera.width - 0.5) & (v >= -0.5) & (v < camera.height - 0.5)
    u, v, index = u[inside], v[inside], index[inside]
    keep = visible(u, v, xyz[index, 2], camera)
    keep = keep[_evenly(len(keep), MOST_ANCHORS)]
    u, v, index = u[keep], v[keep], index[keep]
    ring = np.full(len(index), -1) if points.ring is None else points.ring[kept][index]
    sigma = _RANGE_SIGMA_M / range_m[index]
    return Anchors(u, v, xyz[index, 2], ring.astype(np.int64), sigma, frame_id=points.frame_id)


def neighbours(
    some: Anchors, others: Anchors, most: tuple[int, int], within_px: float
) -> tuple[Anchors, Anchors]:
    """Return pairs of anchors that lie on about the same pixels.

    Args:
        some: N anchors.
        others: M anchors, one or more.
        most: how many of each are looked at, evenly spread.
        within_px: farthest that two of a pair are apart.

    Returns:
        Those of some that have another one near, and for each the nearest of the others.
    """
    some = thinned(some, most[0])
    others, tree = _tree(others, most[1])
    asked = np.stack([some.u, some.v], axis=1)
    distance_px, nearest = tree.query(asked, distance_upper_bound=within_px)
    close = distance_px < within_px
    return some[close], others[nearest[close]]


@lru_cache(maxsize=4)
def _tree(anchors: Anchors, most: int) -> tuple[Anchors, cKDTree]:
    """Return anchors, thinned, and how their neighbours are found: one source is asked by many."""
    few = thinned(anchors, most)
    places = np.stack([few.u, few.v], axis=1)
    # Lidars and lattices spread evenly enough: finding medians would take longer than it saves.
    return few, cKDTree(places, leafsize=32, balanced_tree=False, compact_nodes=False)


def thinned(anchors: Anchors, most: int) -> Anchors:
    """Return evenly as many of the anchors as are allowed."""
    return anchors[_evenly(len(anchors), most)]


def _evenly(count: int, most: int) -> slice | NDArray[np.int64]:
    """Return what takes all of so many items, or evenly as many as are allowed."""
    if count <= most:
        return slice(None)
    return np.linspace(0, count - 1, most).astype(np.int64)


def visible(
    u: NDArray[np.float32], v: NDArray[np.float32], z_m: NDArray[np.float32], camera: Camera
) -> NDArray[np.int64]:
    """Tell which projected points the camera can see past the others.

    A sensor beside the camera looks behind objects, and its points there fall between those of
    the object. A point is hidden where another one in a window around it has a larger inverse
    depth than any plane through the point could reach within the window.

    Args:
        u: N columns in pixels, inside the image.
        v: N rows in pixels.
        z_m: N depths in metres.
        camera: pinhole camera of the image.

    Returns:
        Indices of the visible points, nearest of each pixel only, in the order given.
    """
    if len(z_m) == 0:
        return np.zeros(0, dtype=np.int64)
    column, row = np.rint(u).astype(np.int64), np.rint(v).astype(np.int64)
    pixel = row * camera.width + column
    nearness = np.float32(1) / z_m
    inverse = np.zeros(camera.height * camera.width, dtype=np.float32)
    np.maximum.at(inverse, pixel, nearness)  # z-buffer
    nearest = np.flatnonzero(nearness == inverse[pixel])
    owner = np.empty(inverse.size, dtype=np.int32)
    owner[pixel[nearest]] = nearest  # the last of those in one place
    nearest = nearest[owner[pixel[nearest]] == nearest]
    # The window spans the gaps between scan lines: about the mean spacing of the points.
    covered = (np.ptp(column) + 1) * (np.ptp(row) + 1)
    radius = int(np.clip(0.5 * np.sqrt(covered / len(z_m)), *_WINDOW_RADIUS_PX))
    window = np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8)
    largest = cv2.dilate(inverse.reshape(camera.size), window).reshape(-1)[pixel[nearest]]
    slope = radius / (camera.K[1, 1] * _NEAREST_PLANE_M)
    seen: NDArray[np.int64] = nearest[largest <= (1 + _RELATIVE_STEP) / z_m[nearest] + slope]
    return seen
