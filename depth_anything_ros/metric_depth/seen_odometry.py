# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What images say of odometry: how far off it is over a way, and from where on it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
import torch

from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.ways import Following, Predict, View, Way
from depth_anything_ros.network.spec import ModelSpec

Array = NDArray[np.float64]

# A step contradicts images that show another place: by so much, by that share of its length, and
# by three standard deviations of what they show.
_OFF_M, _OFF_SHARE, _SIGMAS = 0.05, 0.15, 3.0
_STILL_M = 0.05  # of a step; a share of less tells nothing


@dataclass(frozen=True, eq=False)
class SeenOdometry:
    """A way by odometry, compared with images.

    Attributes:
        way: as far as no image contradicts it.
        steps: Nx5: by how many metres it is off in steps of it (3, on the axes of the image at
            the end of each, as seen in the order of time), their lengths, and the standard
            deviation of what images show.
    """

    way: Way
    steps: Array


def compare(
    way: Way, views: Sequence[View], along: range, predict: Predict, config: Config, spec: ModelSpec
) -> SeenOdometry:
    """Compare a way by odometry with what images show of it.

    Corners of an image with metric depth, by the sweep that odometry brought there, are where
    odometry says that they are in the images after it, or they are not.
    """
    turn_rad_s = config.scale.odometry_turn_sigma
    following = Following(views, way, predict, config, spec)
    motion = following.motion
    start: int | None = None
    direction = 1 if way.start == 0 else -1
    kept, steps = {way.start}, [np.zeros((0, 5))]
    newest = steps[0]
    last = way.start
    with torch.inference_mode():
        for n in (n for n in along if n in way.poses and n != way.start):
            if start is None:
                start = last if following.start(last) else None
            if start is not None:
                elapsed_s = abs(views[n].stamp_ns - views[start].stamp_ns) * 1e-9
                told = way.poses[n] @ np.linalg.inv(way.poses[start])
                seen = motion.off(views[n].image(), told, turn_rad_s * elapsed_s)
                if seen is not None:
                    off_m, sigma_m = seen
                    length_m = way.length_m[n] - way.length_m[start]
                    allowed_m = _OFF_M + _OFF_SHARE * length_m + _SIGMAS * sigma_m
                    if np.linalg.norm(off_m) > allowed_m:
                        break
                    newest = np.array([[*(direction * off_m), length_m, sigma_m]])
                if seen is None or motion.few_left:
                    steps.append(newest)
                    newest, start = steps[0], None
            kept.add(n)
            last = n
    return SeenOdometry(way.within(kept), np.concatenate([*steps, newest]))


def shares(seen: Sequence[SeenOdometry]) -> tuple[float, float]:
    """Return by what share of its length odometry is off, and the standard deviation of that."""
    off_m, length_m, sigma_m = np.split(np.concatenate([one.steps for one in seen]), [3, 4], axis=1)
    length_m = np.maximum(length_m, _STILL_M)
    weight = (length_m / np.maximum(sigma_m, 1e-3)) ** 2
    total = float(weight.sum())
    if not total:
        return 0.0, math.inf
    return float(np.linalg.norm((weight * off_m / length_m).sum(axis=0) / total)), total**-0.5
