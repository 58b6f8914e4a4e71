# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Is the sensor's pose a quarter turn off? So are most that are wrong: axes were confused.

ExtrinsicJudge compares with turns of up to 20 degrees, within which a good pose can slip. A pose
that was written down for other axes is off by quarters, where there are only 23 to try.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.extrinsics import agreement
from depth_anything_ros.metric_depth.sources import Sweep

_CLEAR, _BETTER = 0.14, 0.10  # correlation that speaks for a turn, and how far above the pose's own
_SEEN = 60  # anchors, from which points count as seen


def _quarter_turns() -> NDArray[np.float64]:
    """Return the 24 rotations that map axes onto axes, the identity first."""
    turns = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            R = np.zeros((3, 3))
            R[range(3), order] = signs
            if np.linalg.det(R) > 0:
                turns.append(R)
    return np.array(turns)


TURNS = _quarter_turns()


def better_turn(
    views: Sequence[tuple[NDArray[np.float32], Sweep]], camera: Camera, config: ScaleConfig
) -> NDArray[np.float64] | None:
    """Return the pose, a quarter turn from the given one, by which edges agree; None for none.

    Args:
        views: outline of an image and its sweep, each.
        camera: pinhole camera of the images.
        config: which points are anchors.

    Returns:
        4x4 pose of the sensor in the camera's optical frame.
    """
    mean = [
        float(np.mean([_correlation(edges, turned(sweep, R), camera, config)
                       for edges, sweep in views]))
        for R in TURNS
    ]
    best = int(np.argmax(mean))
    if not best or mean[best] < max(_CLEAR, mean[0] + _BETTER):
        return None
    return turned(views[-1][1], TURNS[best]).T_camera_sensor


def seeing_turn(
    sweep: Sweep, camera: Camera, config: ScaleConfig
) -> NDArray[np.float64] | None:
    """Return the pose, a quarter turn from the given one, by which most points are seen.

    None where that is no more than a few.
    """
    counts = [len(turned(sweep, R).anchors(camera, config)) for R in TURNS]
    best = int(np.argmax(counts))
    return turned(sweep, TURNS[best]).T_camera_sensor if best and counts[best] >= _SEEN else None


def turned(sweep: Sweep, R: NDArray[np.float64]) -> Sweep:
    """Return a sweep turned about the camera's centre and axes, by a rotation of the latter."""
    T = np.eye(4)
    T[:3, :3] = R
    return Sweep(sweep.points, T @ sweep.T_camera_sensor)


def _correlation(
    edges: NDArray[np.float32], sweep: Sweep, camera: Camera, config: ScaleConfig
) -> float:
    """Return how edges agree, as if by chance where that cannot be told."""
    found = agreement(edges, sweep.anchors(camera, config), camera)
    return 0.0 if found is None else float(found[0])
