# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Does the sweep belong to the image? Edges of the one must lie on edges of the other.

A wrong extrinsic can fit as well as a right one: where ground fills the image, depth is a monotone
function of the row, turned by 10 degrees or not. What a sensor sees twice is the outline of things:
where range jumps along a ring, brightness jumps too. The network has no say in it (Levinson and
Thrun, "Automatic online calibration of cameras and lasers", RSS 2013).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.anchors import Anchors

VIEW_ROWS = 120  # of the gray image whose outline is looked at
_ROWS = 100  # of the outline: its cells are as wide as the errors of a good extrinsic
_RING_PX = 4.0  # height of the bands that stand for rings where the sensor names none
_ROW_PX = 2.0**20  # rings are sorted one after the other, as in a row that is so long
_NEIGHBOUR_PX = 12.0  # farther apart, two returns of a ring are no neighbours
_JUMPS = (0.08, 0.5)  # log depth: less is no jump, more is not more of one
_ANCHORS_NEEDED = 60
_JUMPS_NEEDED = 8
_SMOOTH_KEPT = 800  # anchors without a jump that are looked at
# Rotations of the sweep, in degrees about the camera's x, y and z axis, to compare with.
_TILTS = (-15.0, -10.0, -6.0, -3.0, 3.0, 6.0, 10.0, 15.0)
_ROLLS = (-20.0, -10.0, 10.0, 20.0)
_TURNS = (
    *((tilt, 0.0, 0.0) for tilt in _TILTS),
    *((0.0, tilt, 0.0) for tilt in _TILTS),
    *((0.0, 0.0, roll) for roll in _ROLLS),
)
_ROTATIONS = np.stack([cv2.Rodrigues(np.radians(turn))[0] for turn in ((0.0,) * 3, *_TURNS)])
_NEWEST = 0.3  # weight of the newest sweep in the mean
_SWEEPS_REFUSED = 3  # so many are looked at before any is refused
# Right extrinsics reach these in three sweeps out of four, wrong ones in one out of a hundred.
_ESTABLISHED = (0.10, 1.8)  # correlation, and its distance from that of turned sweeps in sigmas
_BY_CHANCE = 1.0  # sigmas
_BETTER_TURNED, _UNLIKE = 0.10, 0.06  # correlation; right ones stay under .05 and above .10
_UNLIKE_SHARE = 0.3  # of the best turned sweep's
# Correlation of the best turned sweep, and its distance from the other turned ones in sigmas, that
# refuses. Posters, stripes of light, fog and night bring right sweeps up to .136.
_CLEAR = (0.14, 3.0)
# Of the mean correlation: a sweep under it is not of the established mount. Right ones stay above
# .74, those turned by 10 degrees and more under .52.
_FALLEN = 0.6
# Correlation by which a single sweep that lies better turned is doubted: 9 of 10 and more of those
# that are turned by 10 to 30 degrees do, and 1 of 10 that are right.
_ODD = 0.03
_ANOTHER_PLACE = 0.3  # change of the image
_CONVINCED_S = 7.0  # sweeps that have fallen for so long are judged anew
_DOUBT = 0.12  # log depth, while nothing says that the extrinsic is right


def outline(gray: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how strongly brightness changes along the rows of an image, in about 100 rows.

    Args:
        gray: hxw in any unit.

    Returns:
        Float32, the image in cells of a whole number of its pixels.
    """
    level: NDArray[np.float32] = gray.astype(np.float32)
    change = np.zeros_like(level)
    change[:, 1:-1] = np.sqrt(np.abs(level[:, 2:] - level[:, :-2]))
    cell = max(1, round(gray.shape[0] / _ROWS))
    rows, columns = (n // cell for n in gray.shape)
    cells = cv2.resize(
        change[: rows * cell, : columns * cell], (columns, rows), interpolation=cv2.INTER_AREA
    )
    smooth = cv2.blur(cells, (3, 3), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(smooth, np.float32)


class ExtrinsicJudge:
    """Gathers over sweeps how well edges agree, as they are and with the sweep turned.

    Attributes:
        established: whether the extrinsic has been found right, and not doubtful since.
    """

    def __init__(self) -> None:
        """Start without an opinion."""
        self.established = False
        self._odd = False  # the newest sweep, by itself
        self._mean = np.zeros(len(_ROTATIONS))
        self._sweeps = 0
        self._refused = False
        self._before = 0.0  # mean correlation when it was established last
        self._fallen_ns: int | None = None  # since when sweeps have fallen under that

    def start_scene(self) -> None:
        """Begin the mean anew: how well edges agree depends on the place."""
        self._sweeps, self._fallen_ns = 0, None

    @property
    def score(self) -> float:
        """Return 1 where edges agree far better than by chance, 0 where not at all.

        NaN where nothing is known.
        """
        if not self._sweeps:
            return float('nan')
        reached = min(a / b for a, b in zip(_evidence(self._mean), _ESTABLISHED))
        return float(np.clip(0.5 * reached, 0.0, 1.0))

    @property
    def doubt(self) -> float:
        """Return the standard deviation of log depth to add while nothing is established.

        A sweep that lies better turned is doubted by itself, before the mean has followed.
        """
        return 0.0 if self.established and not self._odd else _DOUBT

    def judge(
        self,
        edges: NDArray[np.float32],
        anchors: Anchors,
        camera: Camera,
        stamp_ns: int,
        change: float = 0.0,
    ) -> str:
        """Take one sweep.

        Args:
            edges: outline of the image.
            anchors: of the sweep, in pixels of the camera.
            camera: pinhole camera of the depth image.
            stamp_ns: time of the image in nanoseconds.
            change: how much the image changed since the last one, see SceneCutDetector.

        Returns:
            Empty, or one line saying why the sweep must not be used.
        """
        found = agreement(edges, anchors, camera)
        self._odd = found is not None and float(np.nanmax(found[1:])) - found[0] > _ODD
        fallen = self._has_fallen(found, stamp_ns)
        # One that still fits better than turned ones is right, under sudden stripes of light, say;
        # after a sharp turn at a low rate it is the place that is another.
        if found is None or (
            fallen and (_evidence(found)[1] >= _BY_CHANCE or change > _ANOTHER_PLACE)
        ):
            return ''
        if fallen:
            return (
                'edges of the sweep no longer lie on edges of the image: rejected (check the '
                'extrinsic)'
            )
        known = np.isfinite(found)
        weight = max(_NEWEST, 1 / (self._sweeps + 1))
        self._mean[known] += weight * (found - self._mean)[known]
        self._sweeps += 1
        correlation, sigmas = _evidence(self._mean)
        best = int(self._mean.argmax())
        rival = float(self._mean[best])
        better = rival - correlation
        at_chance = correlation < _UNLIKE and sigmas < _BY_CHANCE
        if at_chance or better > _BETTER_TURNED:
            self.established = False
        elif correlation >= _ESTABLISHED[0] and sigmas >= _ESTABLISHED[1]:
            self.established = True
        # Once refused, half the evidence keeps it so: sweeps of one mount are not judged anew.
        if self._refused:
            enough = better > _BETTER_TURNED / 2
        else:
            enough = better > _BETTER_TURNED and self._is_clear(best)
        unlike = correlation < max(_UNLIKE, _UNLIKE_SHARE * rival)
        self._refused = self._sweeps >= _SWEEPS_REFUSED and unlike and enough
        if not self._refused:
            return ''
        turn = _TURNS[best - 1]
        axis = int(np.argmax(np.abs(turn)))
        return (
            'edges of the sweep lie on edges of the image with its '
            f'{("pitch", "yaw", "roll")[axis]} turned by {turn[axis]:.0f} degrees, not as '
            'it is: rejected (check the extrinsic)'
        )

    def _has_fallen(self, found: NDArray[np.float64] | None, stamp_ns: int) -> bool:
        """Tell whether a sweep is far under those that established the extrinsic.

        An established mount that fails from one sweep to the next was moved; the place changes by
        degrees, and the mean follows it. It is not established until it agrees again; after 7 s it
        is a new mount, or a new place, of which nothing is known. So it is with a sweep in which
        nothing jumps.
        """
        if self._fallen_ns is None:
            if not self.established or not self._sweeps:
                return False
            self._before = float(self._mean[0])
        if found is not None and found[0] >= _FALLEN * self._before:
            self.established |= self._fallen_ns is not None
            self._fallen_ns = None
            return False
        self.established = False
        if self._fallen_ns is None:
            self._fallen_ns = stamp_ns
        if (stamp_ns - self._fallen_ns) * 1e-9 >= _CONVINCED_S:
            self.start_scene()
            return False
        return True

    def _is_clear(self, best: int) -> bool:
        others = np.delete(self._mean, (0, best))
        sigmas = (self._mean[best] - others.mean()) / max(float(others.std()), 1e-6)
        return bool(self._mean[best] >= _CLEAR[0] and sigmas >= _CLEAR[1])


def _evidence(correlations: NDArray[np.float64]) -> tuple[float, float]:
    """Return the correlation as it is, and its distance from those of turned sweeps in sigmas."""
    turned = correlations[1:][np.isfinite(correlations[1:])]
    spread = max(float(turned.std()), 1e-6)
    return float(correlations[0]), float((correlations[0] - turned.mean()) / spread)


def agreement(
    edges: NDArray[np.float32], anchors: Anchors, camera: Camera
) -> NDArray[np.float64] | None:
    """Correlate jumps of range with edges of the image, as they are and for turned sweeps.

    Args:
        edges: outline of the image.
        anchors: of the sweep, in pixels of the camera.
        camera: pinhole camera of the depth image.

    Returns:
        Correlations: as it is, then one for each rotation, NaN where too little stays in the image;
        None where there are too few jumps.
    """
    if len(anchors) < _ANCHORS_NEEDED:
        return None
    u, v, z_m, ring = anchors.u, anchors.v, anchors.z_m, anchors.ring
    jump = _jumps(u, np.where(ring < 0, v // _RING_PX, ring), z_m)
    if (jump > 0).sum() < _JUMPS_NEEDED:
        return None
    # Few jump: the others are thinned, and those that are kept weigh as much as all.
    smooth = np.flatnonzero(jump == 0)
    kept = smooth[:: max(1, len(smooth) // _SMOOTH_KEPT)]
    weight = np.ones_like(jump)
    weight[kept] = len(smooth) / max(len(kept), 1)
    chosen = np.concatenate([np.flatnonzero(jump), kept])
    u, v, jump, weight = u[chosen], v[chosen], jump[chosen], weight[chosen]
    pixels = np.stack([u, v, np.ones_like(u)])
    # Turning about the camera's centre moves pixels alone: K R K^-1.
    turned = (camera.K @ _ROTATIONS @ np.linalg.inv(camera.K)).astype(np.float32) @ pixels
    found = _correlations(edges, turned, jump, weight, camera)
    return found if np.isfinite(found[0]) and np.isfinite(found[1:]).sum() > 1 else None


def _correlations(
    edges: NDArray[np.float32],
    turned: NDArray[np.float32],
    jump: NDArray[np.float32],
    weight: NDArray[np.float32],
    camera: Camera,
) -> NDArray[np.float64]:
    """Correlate jumps with the edges where they fall.

    Args:
        edges: outline of the image.
        turned: Rx3xM homogeneous pixels of M anchors, turned in R ways.
        jump: M.
        weight: M.
        camera: of the pixels.

    Returns:
        R, NaN where too little stays in the image.
    """
    rows, columns = edges.shape
    per_pixel = np.array([[columns / camera.width], [rows / camera.height]], dtype=np.float32)
    with np.errstate(divide='ignore', invalid='ignore'):
        cells = (turned[:, :2] / turned[:, 2:] + 0.5) * per_pixel
        inside = (turned[:, 2] > 0) & (cells >= 0).all(axis=1)
        inside &= (cells[:, 0] < columns) & (cells[:, 1] < rows)
    column, row = np.where(inside[:, None], cells, 0).astype(np.int64).transpose(1, 0, 2)
    there = edges[row, column]
    w = weight * inside
    w /= np.maximum(w.sum(axis=1, keepdims=True), np.float32(1e-9))
    there = there - (w * there).sum(axis=1, keepdims=True)
    known = jump - (w * jump).sum(axis=1, keepdims=True)
    size = np.sqrt((w * there**2).sum(axis=1) * (w * known**2).sum(axis=1))
    enough = (inside.sum(axis=1) >= _ANCHORS_NEEDED) & (size > 0)
    enough &= (inside & (jump > 0)).sum(axis=1) >= _JUMPS_NEEDED
    correlation = (w * there * known).sum(axis=1) / np.where(enough, size, 1)
    return np.where(enough, correlation, np.nan).astype(np.float64)


def _jumps(
    u: NDArray[np.float32], ring: NDArray[np.float32], z_m: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return by how much the next return along the ring is farther, in log depth; 0 without."""
    order = np.argsort(ring.astype(np.float64) * _ROW_PX + u)
    step = np.diff(np.log(z_m[order]))
    step[(np.diff(ring[order]) != 0) | (np.diff(u[order]) >= _NEIGHBOUR_PX)] = 0.0
    farther = np.zeros(len(z_m), dtype=np.float32)
    farther[:-1] = np.maximum(farther[:-1], step)
    farther[1:] = np.maximum(farther[1:], -step)
    farther[farther < _JUMPS[0]] = 0.0
    jump = np.empty_like(farther)
    jump[order] = np.minimum(farther, _JUMPS[1])
    return jump
