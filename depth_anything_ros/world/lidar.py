# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What measures range in the synthetic world: spinning lidar, planar scanner, rangefinder.

Sensor frames are REP 103: x forward, y left, z up; azimuth counts from x towards y.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
import torch

from depth_anything_ros.world.raycast import cast
from depth_anything_ros.world.scene import Scene

_COLUMNS = 8  # neighbouring azimuths cast as one tile
_CONE = (6, 24)  # rays of a cone, from its axis outwards and around


@dataclass(frozen=True)
class LidarScan:
    """One turn of a spinning lidar, in the order of measurement.

    Attributes:
        points_lidar: Nx3 float32, metres, lidar frame.
        ring: N uint16; 0 is the lowest.
        intensity: N float32, 0 to 255.
        time_s: N float32 after the start of the turn.
    """

    points_lidar: NDArray[np.float32]
    ring: NDArray[np.uint16]
    intensity: NDArray[np.float32]
    time_s: NDArray[np.float32]


def _ranges(scene: Scene, T_world_sensor: ArrayLike, directions: NDArray[np.float64],
            device: torch.device | str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance (inf for none) and primitive (-1 for none) along columns x rows x 3 unit rays."""
    columns, rows, _ = directions.shape
    pose = np.asarray(T_world_sensor, dtype=np.float64)
    tiles = -(-columns // _COLUMNS)
    used = np.minimum(np.arange(tiles * _COLUMNS), columns - 1)
    world = torch.as_tensor(directions[used] @ pose[:3, :3].T, dtype=torch.float32, device=device)
    world = world.reshape(tiles, _COLUMNS * rows, 3).permute(0, 2, 1).contiguous()
    origin = torch.as_tensor(pose[:3, 3], dtype=torch.float32, device=device)
    t, index = cast(scene.primitives.to(device), origin, world)
    t, index = (values.reshape(tiles * _COLUMNS, rows)[:columns] for values in (t, index))
    return t.cpu().numpy().astype(np.float64), index.cpu().numpy()


def spinning_lidar(
    scene: Scene,
    T_world_lidar: ArrayLike,
    rings: int = 16,
    azimuth_step_rad: float = math.radians(0.4),
    elevation_rad: tuple[float, float] = (-math.pi / 12, math.pi / 12),
    noise_m: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    max_range_m: float = 100.0,
    period_s: float = 0.1,
    device: torch.device | str = 'cpu',
) -> LidarScan:
    """Scan the scene once around, from azimuth -pi to pi; the sensor stands still meanwhile.

    Args:
        scene: what to scan.
        T_world_lidar: 4x4 pose of the lidar.
        rings: number of beams, at equal steps of elevation.
        azimuth_step_rad: between columns; rounded so that a turn is a whole number of them.
        elevation_rad: lowest and highest beam above the sensor's horizon.
        noise_m: standard deviation of the range.
        dropout: share of returns lost.
        seed: of noise and dropout.
        max_range_m: farther returns are lost.
        period_s: duration of the turn.
        device: where to compute.

    Returns:
        The returns; what meets nothing is left out.
    """
    columns = max(1, round(2 * math.pi / azimuth_step_rad))
    azimuth = -math.pi + 2 * math.pi * np.arange(columns) / columns
    elevation = np.linspace(*elevation_rad, rings) if rings > 1 else np.array([elevation_rad[0]])
    flat, up = np.cos(elevation), np.sin(elevation)
    directions = np.stack([
        np.cos(azimuth)[:, None] * flat, np.sin(azimuth)[:, None] * flat,
        np.broadcast_to(up, (columns, rings))], axis=-1)  # columns x rings x 3
    distance, index = _ranges(scene, T_world_lidar, directions, device)
    rng = np.random.default_rng(seed)
    kept = (distance <= max_range_m) & (rng.random(distance.shape) >= dropout)
    measured = distance + noise_m * rng.standard_normal(distance.shape)
    column, ring = np.nonzero(kept)
    points = directions[kept] * measured[kept][:, None]
    light = scene.primitives.colours[:, 0].mean(dim=-1).numpy()[index[kept]]
    return LidarScan(points.astype(np.float32), ring.astype(np.uint16),
                     (255 * np.clip(light, 0, 1)).astype(np.float32),
                     (period_s * column / columns).astype(np.float32))


def laser_scan(
    scene: Scene,
    T_world_scanner: ArrayLike,
    angle_min_rad: float = -3 * math.pi / 4,
    angle_max_rad: float = 3 * math.pi / 4,
    angle_increment_rad: float = math.radians(0.5),
    noise_m: float = 0.0,
    seed: int = 0,
    max_range_m: float = 30.0,
    device: torch.device | str = 'cpu',
) -> tuple[NDArray[np.float32], float, float]:
    """Scan the x-y plane of a planar scanner, as sensor_msgs/LaserScan reports it.

    Args:
        scene: what to scan.
        T_world_scanner: 4x4 pose of the scanner.
        angle_min_rad: first angle, from x towards y.
        angle_max_rad: last angle.
        angle_increment_rad: between angles.
        noise_m: standard deviation of the range.
        seed: of the noise.
        max_range_m: beyond it nothing is returned.
        device: where to compute.

    Returns:
        ranges (float32 metres, +inf for no return as REP 117 says), angle_min, angle_increment.
    """
    count = int(round((angle_max_rad - angle_min_rad) / angle_increment_rad)) + 1
    angle = angle_min_rad + angle_increment_rad * np.arange(count)
    directions = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=-1)[:, None]
    distance = _ranges(scene, T_world_scanner, directions, device)[0][:, 0]
    noise = noise_m * np.random.default_rng(seed).standard_normal(count)
    ranges = np.where(distance <= max_range_m, distance + noise, np.inf)
    return ranges.astype(np.float32), angle_min_rad, angle_increment_rad


def rangefinder(
    scene: Scene,
    T_world_sensor: ArrayLike,
    field_of_view_rad: float = math.radians(15),
    range_m: tuple[float, float] = (0.2, 6.0),
    noise_m: float = 0.0,
    seed: int = 0,
) -> float:
    """Measure the distance to the nearest surface in a cone about the x axis, as sensor_msgs/Range.

    Args:
        scene: what is there.
        T_world_sensor: 4x4 pose of the sensor.
        field_of_view_rad: full angle of the cone.
        range_m: nearest and farthest distance.
        noise_m: standard deviation of the distance.
        seed: of the noise.

    Returns:
        Metres; +inf where nothing is in reach, -inf where something is nearer than that (REP 117).
    """
    off = field_of_view_rad / 2 * np.arange(_CONE[0]) / (_CONE[0] - 1)
    about = 2 * math.pi * np.arange(_CONE[1]) / _CONE[1]
    directions = np.stack([
        np.broadcast_to(np.cos(off), _CONE[::-1]), np.cos(about)[:, None] * np.sin(off),
        np.sin(about)[:, None] * np.sin(off)], axis=-1)  # about x off x 3
    distance_m = float(_ranges(scene, T_world_sensor, directions, 'cpu')[0].min())
    distance_m += noise_m * np.random.default_rng(seed).standard_normal()
    if distance_m < range_m[0]:
        return -math.inf
    return distance_m if distance_m <= range_m[1] else math.inf
