# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Anchors from the motion of the camera: corners that it saw from several known places.

What moves by itself contradicts the known motion in some view and drops out, except where it moves
as the camera does: a vehicle on the same course looks like a point farther away, one that comes
towards the camera like one nearer by. These are left to the robust fit.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.corners import (
    after_turn,
    detect,
    directions,
    follow,
    followed_camera,
    followed_image,
    Gray,
    Pixels,
    projected,
    rotation,
)
from depth_anything_ros.metric_depth.odometry import Odometry
from depth_anything_ros.metric_depth.triangulation import Points, triangulate

Array = NDArray[np.float64]

_CORNERS = 192
_FEWEST = 20
_VIEWS = 5  # before the newest
_TESTING_VIEWS = 2  # before the newest, that must see a point: the second tests the first
_STEP_PX = 4.0  # what corners move, without the turn, from one view that is kept to the next
_QUANTILE = 0.6
_LEFT = 0.6  # share of the corners of a view that are left when the next is kept
_OLDEST_S = 10.0
_LONGEST_GAP_S = 1.0
_TRACKING_PX = 0.35  # standard deviation, at best
_WORST_TRACKING_PX = 1.0
_LARGEST_ERROR = 3.0  # of a point in any view, in standard deviations of tracking
_UNSURE = 0.3  # log depth: a point with a larger sigma is no anchor
_POSE_SIGMA = (0.001, 0.002)  # rad and m, at best: stamps, resolution and jitter of odometry
_CONTRADICTED = 0.5  # share of the points that do not fit, from which on odometry does not
_STILL_M = 0.02
_STILL_RAD = 0.02


@dataclass(frozen=True, eq=False)
class Motion:
    """What the motion of the camera tells of an image.

    Attributes:
        known: anchors of the rectified image.
        note: one line saying why motion gives none, empty where it does.
    """

    known: Anchors
    note: str = ''
    name: str = 'motion'

    def anchors(self, camera: Camera, config: ScaleConfig) -> Anchors:
        """Return those within the range limits."""
        z_m = self.known.z_m
        return self.known[(z_m >= config.min_range) & (z_m <= config.max_range)]


@dataclass(frozen=True, eq=False)
class _View:
    """When and where an image was taken, on rectified axes."""

    stamp_ns: int
    T_fixed_camera: Array


class _StartAnew(Exception):
    """The past tells nothing of this image, for the reason given."""


class MotionTracker:
    """Follows corners of a camera whose way is known, and triangulates them in every image."""

    def __init__(self) -> None:
        """Start without an image."""
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._camera: Camera | None = None
        self._last: _View | None = None
        self._odometry: Odometry | None = None
        # Views that are kept, the image of the newest of them, and how many corners it began with.
        self._views: list[_View] = []
        self._gray: Gray = np.zeros((0, 0), np.uint8)
        self._begun = 0
        # Of each corner: its pixel in that image; where each view saw it (on z = 1 of rectified
        # axes, NaN where it did not); and x/z, y/z, inverse depth (0 where unknown) in the last.
        self._start: Pixels = np.zeros((0, 2), np.float32)
        self._seen: Array = np.zeros((0, 0, 2))
        self._point: Array = np.zeros((0, 3))

    def update(
        self,
        image: NDArray[np.uint8],
        camera: Camera,
        T_fixed_camera: Array,
        stamp_ns: int,
        config: ScaleConfig,
    ) -> Motion:
        """Follow the corners into the next image and triangulate them there.

        Args:
            image: HxWx3 uint8 RGB as it came, distorted or not.
            camera: its calibrated camera.
            T_fixed_camera: 4x4 pose of its optical frame in a frame that does not move.
            stamp_ns: time of the image in nanoseconds.
            config: what odometry is worth.

        Returns:
            Anchors, or why there are none.
        """
        small = followed_camera(camera)
        gray = followed_image(image, small)
        view = _View(stamp_ns, T_fixed_camera @ rotation(camera.R.T))
        try:
            step = self._step(camera, view)
            motion = self._go_on(step, view, gray, small, config)
        except _StartAnew as why:
            self.reset()
            self._odometry = Odometry(view.T_fixed_camera)
            self._keep(view, gray, small, self._start)
            motion = _nothing(str(why))
        self._camera, self._last = camera, view
        return motion

    def _step(self, camera: Camera, view: _View) -> Array:
        """Return the last image's camera as seen from where it is now, 4x4."""
        last, odometry = self._last, self._odometry
        if last is None or odometry is None:
            raise _StartAnew('this is the first image')
        if camera is not self._camera:
            raise _StartAnew('the camera is another one')
        elapsed_s = (view.stamp_ns - last.stamp_ns) * 1e-9
        if elapsed_s <= 0:
            raise _StartAnew('time stands still' if elapsed_s == 0 else 'time ran backwards')
        if elapsed_s > _LONGEST_GAP_S:
            raise _StartAnew(f'there was no image with a pose for {elapsed_s:.1f} s')
        off_m = odometry.jump(view.T_fixed_camera, elapsed_s)
        if off_m:
            raise _StartAnew(f'odometry jumped by {off_m:.2f} m')
        return np.linalg.inv(view.T_fixed_camera) @ last.T_fixed_camera

    def _go_on(
        self, step: Array, view: _View, gray: Gray, small: Camera, config: ScaleConfig
    ) -> Motion:
        pixels = self._follow(step, gray, small)
        if len(pixels) < _FEWEST:
            raise _StartAnew(
                'the corners were lost'
                if self._begun >= _FEWEST
                else 'there are no corners to follow (dark, blurred or bare)'
            )
        self._drop_old(view)
        T = np.linalg.inv([old.T_fixed_camera for old in self._views]) @ view.T_fixed_camera
        focal_px = small.rectified().K[0, 0]
        moved_px = focal_px * np.linalg.norm(
            after_turn(T[-1], self._point[:, :2]) - self._seen[-1], axis=1
        )
        if np.linalg.norm(T[:, :3, 3], axis=1).max() < _STILL_M:
            turned = max(_angle_rad(one) for one in T) > _STILL_RAD
            motion = _nothing('the camera only turns' if turned else 'the camera stands still')
        elif len(T) < _TESTING_VIEWS:
            motion = _nothing('there is too little parallax yet')
        else:
            points, fits, sigma = self._triangulate(T, view, focal_px, config)
            motion = self._told(points, fits, sigma)
            pixels, moved_px = pixels[fits], moved_px[fits]
            self._select(fits)
            self._point[:, 2] = np.where(sigma < _UNSURE, points.inverse_depth, 0.0)[fits]
        if (
            np.quantile(moved_px, _QUANTILE) > _STEP_PX
            or len(pixels) < _LEFT * self._begun
            or 1e-9 * (view.stamp_ns - self._views[-1].stamp_ns) > _OLDEST_S / 2
        ):
            self._keep(view, gray, small, pixels)
        return motion

    def _follow(self, step: Array, gray: Gray, small: Camera) -> Pixels:
        """Return where the corners are now, and forget those that are not found."""
        known = self._point[:, 2] > 0
        if known.any():  # a new corner is about as far as the one beside it
            beside = cKDTree(self._point[known, :2]).query(self._point[~known, :2])[1]
            self._point[~known, 2] = self._point[known, 2][beside]
        expected = self._point @ np.stack([step[:3, 0], step[:3, 1], step[:3, 3]]) + step[:3, 2]
        pixels, found = follow(self._gray, gray, self._start, projected(small, expected))
        newest = directions(small, pixels)
        found &= np.isfinite(newest[:, 0])
        self._select(found)
        self._point = np.pad(newest[found], ((0, 0), (0, 1)))
        return pixels[found]

    def _drop_old(self, view: _View) -> None:
        kept = [1e-9 * (view.stamp_ns - old.stamp_ns) < _OLDEST_S for old in self._views]
        self._views = [old for old, keep in zip(self._views, kept) if keep]
        self._seen = self._seen[kept]

    def _triangulate(
        self, T: Array, view: _View, focal_px: float, config: ScaleConfig
    ) -> tuple[Points, NDArray[np.bool_], Array]:
        """Return the corners as points, which of them stand still, and sigma of log depth."""
        age_s = 1e-9 * np.array([view.stamp_ns - old.stamp_ns for old in self._views])
        way_m = np.linalg.norm(T[:, :3, 3], axis=1)
        turn = np.hypot(_POSE_SIGMA[0], config.odometry_turn_sigma * age_s)
        shift_m = np.hypot(_POSE_SIGMA[1], config.odometry_sigma * way_m)
        pose_sigma = np.repeat(np.stack([turn, shift_m], axis=1), 3, axis=1)
        points = triangulate(
            self._point[:, :2], self._seen, T, pose_sigma, _TRACKING_PX / focal_px
        )
        tested = np.isfinite(self._seen[..., 0]).sum(axis=0) >= _TESTING_VIEWS
        fits = ~tested | (points.error < _LARGEST_ERROR)
        compared = max(_FEWEST, int(tested.sum()))
        noise_px = points.noise * focal_px
        if (~fits).sum() > _CONTRADICTED * compared or noise_px > _WORST_TRACKING_PX:
            raise _StartAnew('images and odometry contradict each other')
        # By how much the whole way is off, no image can tell.
        common = shift_m.max() / way_m.max()
        with np.errstate(divide='ignore', invalid='ignore'):
            sigma = np.hypot(points.sigma / points.inverse_depth, common)
        sigma[~tested | (points.inverse_depth <= 0)] = np.inf
        return points, fits, sigma

    def _told(self, points: Points, fits: NDArray[np.bool_], sigma: Array) -> Motion:
        assert self._camera is not None
        camera = self._camera.rectified()
        u, v = camera.K[:2, :2] @ points.xy.T + camera.K[:2, 2:]
        told = fits & (sigma < _UNSURE)
        told &= (u >= -0.5) & (u < camera.width - 0.5) & (v >= -0.5) & (v < camera.height - 0.5)
        if not told.any():
            return _nothing('there is too little parallax')
        z_m = 1 / points.inverse_depth[told]
        rows = np.stack([u[told], v[told], z_m, sigma[told]]).astype(np.float32)
        ring = np.full(len(z_m), -1)
        return Motion(Anchors(rows[0], rows[1], rows[2], ring, rows[3], names=('motion',)))

    def _select(self, kept: NDArray[np.bool_]) -> None:
        self._start, self._seen = self._start[kept], self._seen[:, kept]
        self._point = self._point[kept]

    def _keep(self, view: _View, gray: Gray, small: Camera, pixels: Pixels) -> None:
        """Keep this view for the images to come, with the corners that are followed and new ones.

        Args:
            view: of the image.
            gray: the image.
            small: its camera.
            pixels: the corners that are followed.
        """
        found = detect(gray, pixels, _CORNERS)
        new = directions(small, found)
        known = np.isfinite(new[:, 0])
        found, new = found[known], new[known]
        seen = np.full((len(self._views) + 1, len(pixels) + len(found), 2), np.nan)
        seen[:-1, : len(pixels)] = self._seen
        self._point = np.concatenate([self._point, np.pad(new, ((0, 0), (0, 1)))])
        seen[-1] = self._point[:, :2]
        self._views, self._seen = [*self._views, view][-_VIEWS:], seen[-_VIEWS:]
        self._start, self._gray = np.concatenate([pixels, found]), gray
        self._begun = len(self._start)


def _nothing(note: str) -> Motion:
    none = np.zeros(0, np.float32)
    anchors = Anchors(none, none, none, np.zeros(0, np.int64), names=('motion',))
    return Motion(anchors, f'no anchors from motion: {note}')


def _angle_rad(T: Array) -> float:
    return math.acos(min(1.0, max(-1.0, (float(np.trace(T[:3, :3])) - 1) / 2)))
