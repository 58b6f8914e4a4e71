# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images without a sweep, from the sweeps before and after them: for recordings.

The world stands still for the most part. Where the camera went from the last image with a sweep is
seen in the images (CameraMotion), and so the sweep is brought to where it lies now: as anchors,
some seconds old. The same is done backwards from the next image with a sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig
from depth_anything_ros.metric_depth.anchors import (
    Anchors,
    neighbours,
    project_points,
    visible,
)
from depth_anything_ros.metric_depth.camera_motion import CameraMotion
from depth_anything_ros.metric_depth.corners import rotation
from depth_anything_ros.metric_depth.refinement import metric_depth
from depth_anything_ros.metric_depth.scale import ScaleEstimator, ScaleFit, State
from depth_anything_ros.metric_depth.sources import Sweep
from depth_anything_ros.network.spec import ModelSpec

Array = NDArray[np.float64]
Predict = Callable[[int], Tensor]

LONGEST_S = 10.0  # that a sweep is carried
_WAY_SHARE = 0.015  # standard deviation of the camera's way, as seen in images, at best
_UNCHECKED_SHARE = 0.05  # where the way was not seen from its other end too
_SHORT_M = 1.0  # ways are not taken for shorter
# Two ways agree where the sweeps that they bring do, in the median of |log ratio| of depth. On 17
# drives it was under .07 where both were right, over .13 where one was not.
_AGREEING = 0.07
_PAIRS_NEEDED = 20
_COMPARED = (1024, 4096)
_NEIGHBOUR_PX = 4.0


@dataclass(frozen=True, eq=False)
class View:
    """One image of a recording.

    Attributes:
        stamp_ns: time of the image in nanoseconds.
        image: returns it, HxWx3 uint8 RGB; called up to four times.
        camera: its calibrated camera.
        sweep: what anchors it, None where nothing does.
    """

    stamp_ns: int
    image: Callable[[], NDArray[np.uint8]]
    camera: Camera
    sweep: Sweep | None = None


@dataclass(frozen=True, eq=False)
class CarriedSweep:
    """A sweep of another time, where it lies at the time of an image.

    Attributes:
        sweep: with the pose of the sensor then in the camera's optical frame now.
        age_s: seconds from the sweep's image to this one; negative from one that comes later.
        sigma_m: standard deviation of the place that it was brought to.
    """

    sweep: Sweep
    age_s: float
    sigma_m: float


@dataclass(frozen=True, eq=False)
class Carried:
    """Sweeps of other times as anchors of an image; a Source."""

    sweeps: tuple[CarriedSweep, ...]
    name: str = 'carried'

    def anchors(self, camera: Camera, config: ScaleConfig) -> Anchors:
        """Return the points that the camera can see, past those of all the sweeps."""
        parts = [self._projected(n, camera, config) for n in range(len(self.sweeps))]
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
        sigma = np.hypot(seen.sigma, np.float32(carried.sigma_m) / seen.z_m)
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


@dataclass(frozen=True, eq=False)
class Bridged:
    """What a recording knows of an image that has no fit of its own.

    Attributes:
        line: from the fits before and after, see smooth().
        carried: the sweeps before and after, None where the camera's way was not seen.
    """

    line: ScaleFit
    carried: Carried | None = None

    def fit(
        self, prediction: Tensor, camera: Camera, config: ScaleConfig, spec: ModelSpec
    ) -> tuple[ScaleFit, Anchors | None]:
        """Fit the image to the sweeps that were carried to it, or else take the line.

        Args:
            prediction: HxW network output at depth-image size, in spec.space.
            camera: pinhole camera of the prediction.
            config: limits of anchors.
            spec: what the network predicts.

        Returns:
            A fit, FITTED from the carried sweeps where they agree with the image; its anchors.
        """
        if self.carried is None:
            return self.line, None
        fit, anchors = _fitted(self.carried, prediction, camera, config, spec)
        if fit.state is not State.FITTED:
            refused = f'sweeps of {self.carried.when} not used: {fit.reason}'
            return replace(self.line, reason=f'{self.line.reason}; {refused}'), None
        reason = f'{fit.reason}: sweeps of {self.carried.when}, placed by the camera\'s motion'
        doubt = 0.0 if np.isnan(self.line.scale) else self.line.doubt
        stamp_ns, score = self.line.stamp_ns, self.line.extrinsic_score
        return (
            replace(fit, doubt=doubt, reason=reason, stamp_ns=stamp_ns, extrinsic_score=score),
            anchors,
        )


def carry(
    views: Sequence[View], predict: Predict, config: Config, spec: ModelSpec
) -> list[Carried | None]:
    """Bring the sweep of the first image, and that of the last, to those between.

    Args:
        views: images of one camera in the order of time, of which only the first and the last may
            have a sweep.
        predict: number of a view -> HxW prediction of its image; called for some of them.
        config: limits of anchors and depth.
        spec: what the network predicts.

    Returns:
        For each view the sweeps that were followed to it; None where there are none, and for those
        that have one themselves.
    """
    order = range(len(views))
    ways = [
        _way(views, along, predict, config, spec)
        for along in (order, order[::-1])
        if len(views) > 1 and views[along[0]].sweep is not None
    ]
    if len(ways) == 2:
        ways, share = _agreed(ways[0], ways[1], views, config.scale)
    else:
        ways = [_within(way, views, config.scale.max_hold) for way in ways]
        share = _UNCHECKED_SHARE
    found: list[Carried | None] = []
    for n, view in enumerate(views):
        reached = [] if view.sweep is not None else [way for way in ways if n in way.poses]
        sweeps = tuple(_moved(way, views, n, share) for way in reached)
        found.append(Carried(sweeps) if sweeps else None)
    return found


@dataclass(frozen=True, eq=False)
class _Way:
    """Where a camera went.

    Attributes:
        start: number of the view that it started at.
        poses: number of a view -> 4x4 from the rectified axes of the first to those of this one.
        length_m: number of a view -> how far it was to there, along the way.
    """

    start: int
    poses: dict[int, Array]
    length_m: dict[int, float]


def _way(
    views: Sequence[View], along: range, predict: Predict, config: Config, spec: ModelSpec
) -> _Way:
    """Follow the camera from one end as far as its images tell."""
    first, *others = along
    way = _Way(first, {first: np.eye(4)}, {first: 0.0})
    motion = CameraMotion(views[first].camera)
    start = last = first

    def start_at(n: int) -> bool:
        """Make metric depth of a view by the sweep that was carried to it."""
        carried = Carried((_moved(way, views, n, _UNCHECKED_SHARE),))
        camera, prediction = views[n].camera.rectified(), predict(n)
        fit, anchors = _fitted(carried, prediction, camera, config.scale, spec)
        if fit.state is not State.FITTED:
            return False
        depth = metric_depth(prediction, fit, anchors, config)
        motion.start(views[n].image(), depth.depth_m.cpu().numpy(), depth.stddev_m.cpu().numpy())
        return True

    with torch.inference_mode():
        if not start_at(first):
            return way
        for n in others:
            if abs(views[n].stamp_ns - views[first].stamp_ns) > LONGEST_S * 1e9:
                break
            image = views[n].image()
            pose = motion.follow(image)
            if (pose is None or motion.few_left) and start != last and start_at(last):
                start, pose = last, motion.follow(image)
            if pose is None:
                break
            way.poses[n] = pose @ way.poses[start]
            step = way.poses[n] @ np.linalg.inv(way.poses[last])
            way.length_m[n] = way.length_m[last] + float(np.linalg.norm(step[:3, 3]))
            last = n
    return way


def _moved(way: _Way, views: Sequence[View], n: int, share: float) -> CarriedSweep:
    """Return the sweep of a way's start at another of its views."""
    origin, camera = views[way.start], views[n].camera
    assert origin.sweep is not None
    axes = rotation(camera.R) if camera.is_distorted else np.eye(4)
    T = np.linalg.inv(axes) @ way.poses[n] @ axes @ origin.sweep.T_camera_sensor
    age_s = (views[n].stamp_ns - origin.stamp_ns) * 1e-9
    return CarriedSweep(Sweep(origin.sweep.points, T), age_s, share * way.length_m[n])


def _agreed(
    there: _Way, back: _Way, views: Sequence[View], config: ScaleConfig
) -> tuple[list[_Way], float]:
    """Return as much of two ways as is confirmed, and what share of a way a camera is off.

    A camera that follows a vehicle beside it, or is lost, brings its sweep elsewhere than the other
    way does, or than the sweep lies that was measured at its end. Up to where the two last agree,
    each is right.
    """
    agreeing, shares = [], [_WAY_SHARE]
    for n in sorted(there.poses.keys() & back.poses.keys()):
        ours, others = (
            Carried((_moved(way, views, n, 0.0),)).anchors(views[n].camera.rectified(), config)
            for way in (there, back)
        )
        if min(len(ours), len(others)) < _PAIRS_NEEDED:
            continue
        here, beside = neighbours(ours, others, _COMPARED, _NEIGHBOUR_PX)
        if len(here) < _PAIRS_NEEDED:
            continue
        if float(np.median(np.abs(np.log(here.z_m / beside.z_m)))) < _AGREEING:
            agreeing.append(n)
            way_m = there.length_m[n] + back.length_m[n]
            shares.append(abs(float(np.median(here.z_m - beside.z_m))) / max(way_m, _SHORT_M))
    first, last = (agreeing[0], agreeing[-1]) if agreeing else (len(views), -1)
    ways = [
        _part(there, {n for n in there.poses if n <= last}),
        _part(back, {n for n in back.poses if n >= first}),
    ]
    return ways, float(np.max(shares))


def _within(way: _Way, views: Sequence[View], longest_s: float) -> _Way:
    """Return a way as far as it is believed with nothing to confirm it."""
    start_ns = views[way.start].stamp_ns
    return _part(
        way, {n for n in way.poses if abs(views[n].stamp_ns - start_ns) <= longest_s * 1e9}
    )


def _part(way: _Way, kept: set[int]) -> _Way:
    return replace(way, poses={n: pose for n, pose in way.poses.items() if n in kept})


def _fitted(
    carried: Carried, prediction: Tensor, camera: Camera, config: ScaleConfig, spec: ModelSpec
) -> tuple[ScaleFit, Anchors]:
    """Fit one image by itself."""
    anchors = carried.anchors(camera, config)
    return ScaleEstimator(replace(config, method='auto'), spec).update(
        prediction, anchors, camera, 0
    ), anchors
