# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a camera went while nothing swept: as its images show it, or as odometry tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig
from depth_anything_ros.metric_depth.camera_motion import CameraMotion
from depth_anything_ros.metric_depth.carried import Carried, CarriedSweep, fit_carried
from depth_anything_ros.metric_depth.corners import rotation
from depth_anything_ros.metric_depth.odometry import Odometry
from depth_anything_ros.metric_depth.refinement import metric_depth
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.metric_depth.sources import Sweep
from depth_anything_ros.network.spec import ModelSpec

Array = NDArray[np.float64]
Predict = Callable[[int], Tensor]

LONGEST_S = 10.0  # that a sweep is carried
UNCHECKED_SHARE = 0.05  # standard deviation of a way, where it was not seen from its other end too
_LONGEST_STEP_S = 1.0  # between two images whose place odometry knows


@dataclass(frozen=True, eq=False)
class View:
    """One image of a recording.

    Attributes:
        stamp_ns: time of the image in nanoseconds.
        image: returns it, HxWx3 uint8 RGB; called some times.
        camera: its calibrated camera.
        sweep: what anchors it, None where nothing does.
        T_fixed_camera: 4x4 pose of the optical frame by odometry, None where that is not known.
    """

    stamp_ns: int
    image: Callable[[], NDArray[np.uint8]]
    camera: Camera
    sweep: Sweep | None = None
    T_fixed_camera: Array | None = None


@dataclass(frozen=True, eq=False)
class Way:
    """Where a camera went.

    Attributes:
        start: number of the view that it started at.
        poses: number of a view -> 4x4 from the rectified axes of the first to those of this one.
        length_m: number of a view -> how far it was to there, along the way.
        share: standard deviation of a place, as a share of the length to there.
        turn_rad_s: standard deviation of the rate of turn.
    """

    start: int
    poses: dict[int, Array]
    length_m: dict[int, float]
    share: float = UNCHECKED_SHARE
    turn_rad_s: float = 0.0

    def carried(self, views: Sequence[View], n: int) -> CarriedSweep:
        """Return the sweep of its start at another of its views."""
        origin, camera = views[self.start], views[n].camera
        assert origin.sweep is not None
        axes = rotation(camera.R) if camera.is_distorted else np.eye(4)
        pose = np.linalg.inv(axes) @ self.poses[n] @ axes
        sweep = Sweep(origin.sweep.points, pose @ origin.sweep.T_camera_sensor)
        age_s = (views[n].stamp_ns - origin.stamp_ns) * 1e-9
        turn_rad = self.turn_rad_s * abs(age_s)
        sigma_m = self.length_m[n] * float(np.hypot(self.share, turn_rad / 2))
        return CarriedSweep(sweep, age_s, sigma_m, turn_rad)

    def within(self, kept: set[int]) -> Way:
        """Return a part of it."""
        return replace(self, poses={n: pose for n, pose in self.poses.items() if n in kept})


def told_way(views: Sequence[View], along: range, config: ScaleConfig) -> Way:
    """Follow odometry from one end, up to where it jumps or falls silent."""
    first, *others = along
    start = views[first].T_fixed_camera
    sigma = config.odometry_sigma, config.odometry_turn_sigma
    way = Way(first, {first: np.eye(4)}, {first: 0.0}, *sigma)
    if start is None:
        return way
    odometry = Odometry(start)
    last = first
    for n in others:
        T, camera = views[n].T_fixed_camera, views[n].camera
        elapsed_s = abs(views[n].stamp_ns - views[last].stamp_ns) * 1e-9
        age_s = abs(views[n].stamp_ns - views[first].stamp_ns) * 1e-9
        if elapsed_s > _LONGEST_STEP_S or age_s > LONGEST_S:
            break
        if T is None or not elapsed_s:
            continue
        if odometry.jump(T, elapsed_s):
            break
        axes = rotation(camera.R) if camera.is_distorted else np.eye(4)
        way.poses[n] = axes @ np.linalg.inv(T) @ start @ np.linalg.inv(axes)
        before = views[last].T_fixed_camera
        assert before is not None
        way.length_m[n] = way.length_m[last] + float(np.linalg.norm(T[:3, 3] - before[:3, 3]))
        last = n
    return way


class Following:
    """Starts a camera's motion at images that have metric depth by a sweep carried to them.

    Attributes:
        motion: of the camera from there on.
    """

    def __init__(
        self, views: Sequence[View], way: Way, predict: Predict, config: Config, spec: ModelSpec
    ) -> None:
        """Take what is known of a recording, and the way that grows while it is followed."""
        self.motion = CameraMotion(views[way.start].camera)
        self._views, self._way, self._config, self._spec = views, way, config, spec
        self._predict = predict

    def start(self, n: int) -> bool:
        """Start at a view; tell whether its image has metric depth."""
        view, prediction = self._views[n], self._predict(n)
        carried, config = Carried((self._way.carried(self._views, n),)), self._config
        camera = view.camera.rectified()
        fit, anchors = fit_carried(carried, prediction, camera, config.scale, self._spec)
        if fit.state is not State.FITTED:
            return False
        depth = metric_depth(prediction, fit, anchors, config)
        depth_m, stddev_m = depth.depth_m.cpu().numpy(), depth.stddev_m.cpu().numpy()
        self.motion.start(view.image(), depth_m, stddev_m)
        return True


def seen_way(
    views: Sequence[View], along: range, predict: Predict, config: Config, spec: ModelSpec
) -> Way:
    """Follow the camera from one end as far as its images tell."""
    first, *others = along
    way = Way(first, {first: np.eye(4)}, {first: 0.0})
    start = last = first
    following = Following(views, way, predict, config, spec)
    motion = following.motion
    with torch.inference_mode():
        if not following.start(first):
            return way
        for n in others:
            if abs(views[n].stamp_ns - views[first].stamp_ns) > LONGEST_S * 1e9:
                break
            image = views[n].image()
            pose = motion.follow(image)
            if (pose is None or motion.few_left) and start != last and following.start(last):
                start, pose = last, motion.follow(image)
            if pose is None:
                break
            way.poses[n] = pose @ way.poses[start]
            step = way.poses[n] @ np.linalg.inv(way.poses[last])
            way.length_m[n] = way.length_m[last] + float(np.linalg.norm(step[:3, 3]))
            last = n
    return way
