# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What can tell a prediction what a metre is: sources of anchors, and which of them are believed.

A source is anything with a name and anchors for a camera: a lidar's sweep, a depth image, a stereo
pair, the motion of the camera. All that are there share one fit, each anchor with its own sigma.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import (
    Anchors,
    joined,
    neighbours,
    project_points,
    SensorPoints,
)

# Who is believed where as many speak against as for: what measures range before what infers it.
RANK = ('lidar', 'depth', 'stereo', 'motion', 'neighbour')
_NEIGHBOUR_PX = 12.0
_COMPARED = (512, 4096)
_NEEDED = 20  # pairs of neighbours, below which two sources cannot be compared
_TOLERANCE = 0.08  # log depth: two sources that differ by less as a whole agree
_SIGMAS = 3.0  # of the mean of what is not independent: more is allowed to rough sources
_INDEPENDENT = 64.0


class Source(Protocol):
    """One measurement that belongs to an image."""

    @property
    def name(self) -> str:
        """What the source is called in scale.method and on depth/scale."""

    def anchors(self, camera: Camera, config: ScaleConfig) -> Anchors:
        """Return known depths of the image of a calibrated pinhole camera."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """Points of a lidar, a laser scanner or a SLAM's map.

    Attributes:
        points: in the sensor's frame, as at the time of the image.
        T_camera_sensor: 4x4, sensor coordinates to the camera's optical frame.
    """

    points: SensorPoints
    T_camera_sensor: NDArray[np.float64]
    name: str = 'lidar'

    def anchors(self, camera: Camera, config: ScaleConfig) -> Anchors:
        """Return the points that the camera can see."""
        return project_points(self.points, self.T_camera_sensor, camera, config)


@dataclass(frozen=True)
class Verdict:
    """Which sources anchor an image.

    Attributes:
        anchors: of those that are believed, as one set; None without a source.
        outvoted: name -> by how much its depths are off those of the others, in log depth.
    """

    anchors: Anchors | None
    outvoted: Mapping[str, float]

    @property
    def complaint(self) -> str:
        """One line that names who is outvoted, empty where nobody is."""
        return '; '.join(
            f'{name} says {math.expm1(off):+.0%} in depth against the others and is left out '
            '(check its calibration)'
            for name, off in self.outvoted.items()
        )


def takes(method: str, name: str) -> bool:
    """Tell whether scale.method lets a source speak."""
    return method == 'auto' or name in method.split(',')


def gather(sources: Sequence[Source], camera: Camera, config: ScaleConfig) -> Verdict:
    """Return the anchors of all sources that may speak and agree with each other.

    Sources that see the same pixels are compared there, whatever the network says. The largest
    group of sources that agree with each other is believed; of two as large, that with the source
    of the higher rank.

    Args:
        sources: measurements of one image.
        camera: pinhole camera of the image.
        config: scale.method, and what the sources need.
    """
    parts = {
        source.name: source.anchors(camera, config)
        for source in sorted(sources, key=lambda source: RANK.index(source.name))
        if takes(config.method, source.name)
    }
    outvoted = _outvoted(parts)
    return Verdict(
        joined({name: part for name, part in parts.items() if name not in outvoted}), outvoted
    )


def _outvoted(parts: Mapping[str, Anchors]) -> dict[str, float]:
    names = list(parts)
    off = {
        (one, other): offset
        for i, one in enumerate(names)
        for other in names[i + 1 :]
        if (offset := _offset(parts[other], parts[one])) is not None
    }
    # Rank is the order here, and the first of the largest groups is taken.
    groups = [
        [other for other in names if other == one or not off.get(_pair(names, one, other))]
        for one in names
    ]
    believed = max(groups, key=len, default=[])
    outvoted = {}
    for name in names:
        if name in believed:
            continue
        against = [
            offset if pair[1] == name else -offset
            for pair, offset in off.items()
            if name in pair and set(pair) - {name} <= set(believed)
        ]
        outvoted[name] = max(against, key=abs)
    return outvoted


def _pair(names: Sequence[str], one: str, other: str) -> tuple[str, str]:
    return (one, other) if names.index(one) < names.index(other) else (other, one)


def _offset(here: Anchors, there: Anchors) -> float | None:
    """Return by how much depths are off others on the same pixels: log depth, 0 where they agree.

    None where hardly any lie on the same pixels.
    """
    if not (len(here) and len(there)):
        return None
    # Of the one with fewer, each is looked for among the other's.
    swapped = len(here) > len(there)
    some, others = (there, here) if swapped else (here, there)
    some, others = neighbours(some, others, _COMPARED, _NEIGHBOUR_PX)
    if len(some) < _NEEDED:
        return None
    ratio = np.log(some.z_m / others.z_m)
    offset = float(np.median(ratio))
    sigma = float(np.median(np.hypot(some.sigma, others.sigma)))
    spread = max(sigma, 1.4826 * float(np.median(np.abs(ratio - offset))))
    allowed = _TOLERANCE + _SIGMAS * spread / math.sqrt(min(len(ratio), _INDEPENDENT))
    if abs(offset) <= allowed:
        return 0.0
    return -offset if swapped else offset
