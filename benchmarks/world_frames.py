# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of the synthetic world with a spinning lidar above the camera, for benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
import math

import numpy as np
from numpy.typing import NDArray
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.evaluation.frames import Frame
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.world.cameras import BASELINE_M, beside, noisy
from depth_anything_ros.world.primitives import Semantic
from depth_anything_ros.world.raycast import cast
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import random_scene, Scene
from depth_anything_ros.world.trajectory import camera_path

WIDTH, HEIGHT, FOCAL_PX = 640, 480, 520.0
_SECOND_GAIN = 0.95  # the second camera of a stereo pair is exposed less
CAMERA = Camera(
    WIDTH,
    HEIGHT,
    np.array([[FOCAL_PX, 0, (WIDTH - 1) / 2], [0, FOCAL_PX, (HEIGHT - 1) / 2], [0, 0, 1]]),
)
_ELEVATIONS_DEG = {'street': (-24.8, 4.0), 'room': (-22.0, 22.0), 'corridor': (-22.0, 22.0)}
_RINGS, _AZIMUTH_STEP_DEG, _MAX_AZIMUTH_DEG = 64, 0.2, 50.0
_RANGE_NOISE_M, _MAX_RANGE_M = 0.02, 80.0
# Lidar 0.25 m above and 0.2 m behind the camera, looking along its heading without its pitch.
_LIDAR_OFFSET_M = (-0.2, 0.0, 0.25)
_VELOCITIES_M_S = {Semantic.PERSON: (0.0, 1.4, 0.0), Semantic.VEHICLE: (8.0, 0.0, 0.0)}


@dataclass(frozen=True, eq=False)
class WorldFrame:
    """A frame and what is true of it.

    Attributes:
        frame: what sensors see.
        depth_m: HxW float32 true depth, +inf for sky.
        T_world_camera: 4x4 pose of the optical frame.
        kind: of the scene.
        pair_rgb: two HxWx3 uint8 images of a stereo pair, of this camera and of another BASELINE_M
            to its right, with noise; None where not wanted.
    """

    frame: Frame
    depth_m: NDArray[np.float32]
    T_world_camera: NDArray[np.float64]
    kind: str
    pair_rgb: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None


def world_frame(seed: int, kind: str | None = None) -> WorldFrame:
    """Render one frame at a random time of a random drive through a random scene.

    Args:
        seed: draws everything; benchmarks use seeds that training does not.
        kind: 'street', 'room', 'corridor', or None for a random one.
    """
    rng = np.random.default_rng(seed)
    scene = random_scene(seed, kind)
    T_world_camera = camera_path(scene, seed)(float(rng.uniform(0.0, 60.0)))
    return _frame(scene, T_world_camera, rng, 0, f'world{seed}')


def world_drive(
    seed: int,
    kind: str,
    period_s: float,
    duration_s: float,
    turn: Callable[[float], float],
    shrunk: int = 2,
    traffic: bool = False,
    stereo: bool = False,
) -> list[WorldFrame]:
    """Render a drive at about the speed that the scene's robot has.

    Args:
        seed: draws everything.
        kind: 'street', 'room' or 'corridor'.
        period_s: between frames.
        duration_s: of the drive.
        turn: time in seconds -> by how many radians the robot has turned to the left.
        shrunk: by how much images are smaller than those of world_frame().
        traffic: whether people cross the lane and vehicles drive along it.
        stereo: whether there is a second camera.
    """
    rng = np.random.default_rng(seed)
    scene = random_scene(seed, kind)
    path, start_s = camera_path(scene, seed), float(rng.uniform(0.0, 60.0))
    frames = []
    for time_s in np.arange(0.0, duration_s, period_s):
        pose = path(start_s + float(time_s))
        cosine, sine = math.cos(turn(float(time_s))), math.sin(turn(float(time_s)))
        turned = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        pose[:3, :3] = turned @ pose[:3, :3]
        stamp_ns = round(1e9 * time_s)
        seen = _moved(scene, float(time_s)) if traffic else scene
        world = _frame(seen, pose, rng, stamp_ns, f'{kind}{seed}', shrunk)
        frames.append(replace(world, pair_rgb=_pair(seen, world, rng)) if stereo else world)
    return frames


def _pair(
    scene: Scene, world: WorldFrame, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    pose, camera = beside(world.T_world_camera, BASELINE_M), world.frame.camera
    right = render(scene, pose, camera.K, camera.width, camera.height).image_rgb
    return noisy(world.frame.image_rgb, rng), noisy(_SECOND_GAIN * right, rng)


def _moved(scene: Scene, time_s: float) -> Scene:
    """Return the scene after a while of traffic."""
    centre_m = scene.primitives.centre_m.clone()
    for what, velocity_m_s in _VELOCITIES_M_S.items():
        which = scene.primitives.semantic == what
        centre_m[which] += time_s * torch.tensor(velocity_m_s)
    return replace(scene, primitives=replace(scene.primitives, centre_m=centre_m))


@cache
def _camera(shrunk: int) -> Camera:
    """Return the same camera for all frames: another one would start a pipeline anew."""
    return CAMERA.scaled(WIDTH // shrunk, HEIGHT // shrunk)


def _frame(
    scene: Scene,
    T_world_camera: NDArray[np.float64],
    rng: np.random.Generator,
    stamp_ns: int,
    name: str,
    shrunk: int = 1,
) -> WorldFrame:
    camera = _camera(shrunk)
    picture = render(scene, T_world_camera, camera.K, camera.width, camera.height)
    T_world_lidar = _lidar_pose(T_world_camera)
    points = replace(_scan(scene, T_world_lidar, rng), stamp_ns=stamp_ns)
    T_camera_lidar = np.linalg.inv(T_world_camera) @ T_world_lidar
    frame = Frame(picture.image_rgb, camera, points, T_camera_lidar, stamp_ns, name)
    return WorldFrame(frame, picture.depth_m, T_world_camera, scene.kind)


def _lidar_pose(T_world_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    heading = T_world_camera[:3, 2] * [1.0, 1.0, 0.0]
    forward = heading / np.linalg.norm(heading)
    up = np.array([0.0, 0.0, 1.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([forward, np.cross(up, forward), up], axis=1)
    pose[:3, 3] = T_world_camera[:3, 3] + pose[:3, :3] @ np.array(_LIDAR_OFFSET_M)
    return pose


def _scan(
    scene: Scene, T_world_lidar: NDArray[np.float64], rng: np.random.Generator
) -> SensorPoints:
    low, high = np.radians(_ELEVATIONS_DEG[scene.kind])
    elevation = np.linspace(low, high, _RINGS)
    limit = np.radians(_MAX_AZIMUTH_DEG)
    azimuth = np.arange(-limit, limit, np.radians(_AZIMUTH_STEP_DEG))
    e, a = np.meshgrid(elevation, azimuth, indexing='ij')  # ring x azimuth
    rays = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1)
    world_rays = rays @ T_world_lidar[:3, :3].T
    # A tile is a short piece of one ring: neighbouring rays hit the same few shapes.
    tiles = torch.as_tensor(world_rays, dtype=torch.float32).reshape(-1, 20, 3).transpose(1, 2)
    origin = torch.as_tensor(T_world_lidar[:3, 3], dtype=torch.float32)
    range_m = cast(scene.primitives, origin, tiles.contiguous())[0].numpy().reshape(e.shape)
    range_m = range_m + rng.normal(0.0, _RANGE_NOISE_M, range_m.shape)
    hit = range_m < _MAX_RANGE_M
    ring = np.broadcast_to(np.arange(_RINGS)[:, None], e.shape)[hit]
    xyz_m = (rays[hit] * range_m[hit][:, None]).astype(np.float32)
    return SensorPoints(xyz_m, 0, 'lidar', ring=ring.astype(np.int64))
