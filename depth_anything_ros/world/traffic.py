# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What moves in a scene: vehicles in the other lanes of a street, people who walk to and fro."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import math

import numpy as np
from numpy.typing import NDArray
import torch

from depth_anything_ros.world import objects
from depth_anything_ros.world.primitives import Builder, Primitives, Semantic
from depth_anything_ros.world.scene import Scene
from depth_anything_ros.world.trajectory import Pose

_LANE_M = 3.4
_VERGE_M = 1.5  # from the middle of a lane to what bounds the road
_LOOP_M = 320.0  # after which a vehicle comes again from the other end
_PEOPLE = {'street': 8, 'room': 2, 'corridor': 3}
_TRIES = 40  # to find somebody a way that is free
_FREE_M = 0.35
_CAMERA_FREE_M, _CAMERA_S = 0.9, 60.0  # from the camera's way, for so long


@dataclass(frozen=True)
class Mover:
    """One thing that moves.

    Attributes:
        primitives: it, about the origin, heading along x.
        way: time in seconds -> x, y in metres and yaw in radians, world frame.
    """

    primitives: Primitives
    way: Callable[[float], tuple[float, float, float]]


class Traffic:
    """A scene in which something moves."""

    def __init__(self, scene: Scene, path: Callable[[float], Pose], seed: int) -> None:
        """Draw what moves, and take away what stands in its lanes.

        Args:
            scene: where.
            path: time in seconds -> T_world_camera; nobody walks into it for its first minute.
            seed: the same scene, path and seed give the same traffic.
        """
        rng = np.random.default_rng([seed, 2])
        lanes = _lanes(scene)
        self._still = _cleared(scene, lanes)
        self._movers = [mover for y in lanes for mover in _vehicles(rng, y)]
        self._movers += _people(rng, self._still, path, lanes)

    def at(self, time_s: float) -> Scene:
        """Return the scene after so long."""
        moved = [mover.primitives.moved(*mover.way(time_s)) for mover in self._movers]
        return replace(
            self._still, primitives=Primitives.together([self._still.primitives, *moved])
        )


def _lanes(scene: Scene) -> list[float]:
    """Return the y of the lanes beside the camera's, outdoors."""
    if scene.kind != 'street':
        return []
    lanes = scene.lane_m[0] + _LANE_M * np.array([-2, -1, 1, 2])
    low, high = scene.free_m[2] + _VERGE_M, scene.free_m[3] - _VERGE_M
    return [float(y) for y in lanes if low <= y <= high]


def _cleared(scene: Scene, lanes: list[float]) -> Scene:
    p = scene.primitives
    away = torch.full((len(p),), math.inf)
    for y in lanes:
        away = torch.minimum(away, (p.centre_m[:, 1] - y).abs())
    stays = (p.semantic != Semantic.VEHICLE) | (away > _LANE_M / 2 + 0.5)
    kept = Primitives(**{name: values[stays] for name, values in vars(p).items()})
    return replace(scene, primitives=kept)


def _vehicles(rng: np.random.Generator, y: float) -> list[Mover]:
    """Fill a lane; all in it go at one speed, to the left of the camera against it."""
    speed_m_s = float(rng.uniform(5, 11)) * (-1 if y > 0 else 1)
    yaw = math.pi if y > 0 else 0.0
    movers, x = [], float(rng.uniform(0, 20))
    while x < _LOOP_M - 16:  # the last one stays clear of the first
        builder = Builder(rng)
        (objects.truck if rng.random() < 0.2 else objects.car)(builder, 0, 0, 0)

        def way(time_s: float, start: float = x) -> tuple[float, float, float]:
            return (start + speed_m_s * time_s) % _LOOP_M - _LOOP_M / 2, y, yaw

        movers.append(Mover(builder.build(), way))
        x += float(rng.uniform(16, 60))
    return movers


def _people(
    rng: np.random.Generator, scene: Scene, path: Callable[[float], Pose], lanes: list[float]
) -> list[Mover]:
    times_s = np.arange(0.0, _CAMERA_S, 0.1)
    cameras = np.array([path(float(t))[:2, 3] for t in times_s])
    movers: list[Mover] = []
    for _ in range(_PEOPLE[scene.kind]):
        for _ in range(_TRIES):
            way = _walk(rng, scene)
            walked = np.array([way(float(t))[:2] for t in times_s])
            if (
                np.linalg.norm(walked - cameras, axis=1).min() > _CAMERA_FREE_M
                and all(np.abs(walked[:, 1] - y).min() > _LANE_M / 2 for y in lanes)
                and _clear(scene, walked[::5])
            ):
                builder = Builder(rng)
                objects.person(builder, 0, 0, 0)
                movers.append(Mover(builder.build(), way))
                break
    return movers


def _walk(
    rng: np.random.Generator, scene: Scene
) -> Callable[[float], tuple[float, float, float]]:
    """Draw a line within the free ground, to be walked to and fro; across it in a street."""
    x_min, x_max, y_min, y_max = scene.free_m
    across = scene.kind == 'street'
    middle_y = scene.lane_m[0] if across else float(rng.uniform(y_min, y_max))
    start = np.array([rng.uniform(x_min, x_max), middle_y])
    yaw = float(rng.choice([-1, 1]) * math.pi / 2 if across else rng.uniform(-math.pi, math.pi))
    length_m, speed_m_s = float(rng.uniform(2, 8)), float(rng.uniform(0.8, 1.6))
    late_s = float(rng.uniform(0, 20))
    ahead = np.array([math.cos(yaw), math.sin(yaw)])
    start = start - (length_m / 2 if across else 0.0) * ahead
    ends = np.stack([start, start + length_m * ahead])
    ends = np.clip(ends, [x_min, y_min], [x_max, y_max])
    length_m = max(float(np.linalg.norm(ends[1] - ends[0])), 0.1)

    def way(time_s: float) -> tuple[float, float, float]:
        gone = (time_s + late_s) * speed_m_s % (2 * length_m)
        back = gone > length_m
        x, y = ends[0] + (ends[1] - ends[0]) * (min(gone, 2 * length_m - gone) / length_m)
        return float(x), float(y), yaw + math.pi * back

    return way


def _clear(scene: Scene, points_m: NDArray[np.float64]) -> bool:
    spots = np.unique(np.round(4 * points_m), axis=0) / 4
    return all(scene.clearance_m(torch.tensor([x, y, 0.9])) > _FREE_M for x, y in spots)
