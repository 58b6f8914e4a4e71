# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where cameras are: smooth drives for the demo, single random views for training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
import torch

from depth_anything_ros.world.raycast import cast
from depth_anything_ros.world.scene import Scene

Pose = NDArray[np.float64]


def look(position_m: tuple[float, float, float], yaw_rad: float, pitch_rad: float = 0.0,
         roll_rad: float = 0.0) -> Pose:
    """Pose of a camera's optical frame (x right, y down, z forward) in the world.

    Args:
        position_m: of the optical centre, world frame.
        yaw_rad: heading of the optical axis about world z, 0 along x.
        pitch_rad: how far the optical axis points below the horizon.
        roll_rad: clockwise turn of the camera about its optical axis.

    Returns:
        T_world_camera, 4x4 float64.
    """
    cy, sy = math.cos(yaw_rad), math.sin(yaw_rad)
    cp, sp = math.cos(pitch_rad), math.sin(pitch_rad)
    forward = np.array([cy * cp, sy * cp, -sp])
    right = np.array([sy, -cy, 0.0])
    down = np.cross(forward, right)
    cr, sr = math.cos(roll_rad), math.sin(roll_rad)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([cr * right + sr * down, cr * down - sr * right, forward], axis=1)
    pose[:3, 3] = position_m
    return pose


def camera_path(scene: Scene, seed: int) -> Callable[[float], Pose]:
    """Draw a smooth drive along the scene's free lane, back and forth without end.

    Args:
        scene: where to drive.
        seed: draws sway, height and pitch.

    Returns:
        Function from time in seconds to T_world_camera (4x4 float64, optical frame).
    """
    rng = np.random.default_rng(seed)
    x_min, x_max = scene.free_m[0], scene.free_m[1]
    lane_y, lane_half = scene.lane_m
    reach = (x_max - x_min) / 2
    # A cosine along x: speed is greatest half way and the turn at the ends is smooth.
    rate = scene.speed_m_s / reach
    sway = rng.uniform(0.1, 0.4) * lane_half
    sway_rate, sway_phase = rng.uniform(0.2, 0.5), rng.uniform(0, 2 * math.pi)
    glance, glance_rate = rng.uniform(0.02, 0.12), rng.uniform(0.2, 0.4)
    pitch = rng.uniform(0.0, 0.12)

    def pose(t_s: float) -> Pose:
        x = (x_min + x_max) / 2 - reach * math.cos(rate * t_s)
        y = lane_y + sway * math.sin(sway_rate * t_s + sway_phase)
        z = scene.camera_height_m + 0.01 * math.sin(3.0 * t_s)
        yaw = glance * math.sin(glance_rate * t_s)
        return look((x, y, z), yaw, pitch + 0.005 * math.sin(4.0 * t_s))

    return pose


@dataclass(frozen=True)
class View:
    """One camera: pose and intrinsics.

    Attributes:
        T_world_camera: 4x4 float64, optical frame.
        K: 3x3 float64 in pixels.
        D: plumb_bob coefficients, empty for a pinhole.
    """

    T_world_camera: Pose
    K: NDArray[np.float64]
    D: tuple[float, ...]


def random_view(scene: Scene, seed: int, width: int, height: int) -> View:
    """Draw one camera anywhere free in the scene, with random lens.

    Args:
        scene: where.
        seed: the same seed gives the same view.
        width: image width in pixels.
        height: image height in pixels.

    Returns:
        Pose and intrinsics: 40 to 100 degrees across the longer side, one in eight distorted.
    """
    rng = np.random.default_rng([seed, 1])
    x_min, x_max, y_min, y_max = scene.free_m
    for _ in range(30):
        position = _free_position(scene, rng)
        yaw, pitch = _heading(scene, rng, position[0])
        pose = look(position, yaw, pitch, float(rng.normal(0, 0.02)))
        if scene.clearance_m(torch.tensor(position)) > 0.2 and _sees_far(scene, pose):
            break
    field = math.radians(rng.uniform(40, 100))
    focal = max(width, height) / 2 / math.tan(field / 2)
    centre = ((width - 1) / 2 + rng.normal(0, 0.02) * width,
              (height - 1) / 2 + rng.normal(0, 0.04) * height)
    K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])
    distorted = rng.random() < 0.15 and field < math.radians(85)
    D = (float(rng.uniform(-0.12, 0.04)), 0.0, 0.0, 0.0) if distorted else ()
    return View(pose, K, D)


def _free_position(scene: Scene, rng: np.random.Generator) -> tuple[float, float, float]:
    x_min, x_max, y_min, y_max = scene.free_m
    y = rng.uniform(y_min, y_max)
    if rng.random() < 0.5:
        y = scene.lane_m[0] + rng.uniform(-1, 1) * scene.lane_m[1]
    z = max(0.25, scene.camera_height_m * rng.uniform(0.8, 1.15))
    return float(rng.uniform(x_min, x_max)), float(y), float(z)


def _heading(scene: Scene, rng: np.random.Generator, x: float) -> tuple[float, float]:
    """Yaw and pitch: most look along the street or the length of a room."""
    along = rng.random() < (0.6 if scene.kind == 'street' else 0.4)
    backwards = rng.random() < 0.5
    if scene.kind != 'street':  # away from the nearer end
        backwards = x > (scene.free_m[0] + scene.free_m[1]) / 2
    yaw = rng.normal(0, 0.15) + math.pi * backwards if along else rng.uniform(-math.pi, math.pi)
    pitch = rng.normal(0.02, 0.06) if scene.kind == 'street' else rng.normal(0.05, 0.12)
    return float(yaw), float(pitch)


def _sees_far(scene: Scene, pose: Pose) -> bool:
    """Whether most of the view is not filled by something right before the camera."""
    grid = torch.linspace(-0.35, 0.35, 3)
    v, u = torch.meshgrid(grid, grid, indexing='ij')
    rays = torch.stack([u, v, torch.ones_like(u)], dim=-1).reshape(-1, 3)
    rotation = torch.as_tensor(pose, dtype=torch.float32)
    directions = (rays @ rotation[:3, :3].T).T[None]
    t, _ = cast(scene.primitives, rotation[:3, 3].contiguous(), directions)
    return float(t.median()) > (3.0 if scene.kind == 'street' else 1.3)
