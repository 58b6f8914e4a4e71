# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A robot's drive through a scene: what each of its sensors says at any instant of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
import itertools
import math

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.world.cameras import (
    BASELINE_M,
    beside,
    Depth,
    noisy,
    stereo_depth,
    time_of_flight,
)
from depth_anything_ros.world.lidar import LidarScan, rangefinder, spinning_lidar
from depth_anything_ros.world.odometry import dead_reckoning
from depth_anything_ros.world.render import Render, render
from depth_anything_ros.world.scene import random_scene, Scene
from depth_anything_ros.world.traffic import Traffic
from depth_anything_ros.world.trajectory import camera_path, Pose

SENSORS = ('lidar', 'depth', 'stereo', 'motion', 'camera_height', 'range')  # as in scale.method

DEPTH_CAMERAS: dict[str, Callable[[Render, Camera, np.random.Generator], Depth]] = {
    'stereo': stereo_depth,
    'time_of_flight': time_of_flight,
}

# 75 degrees across. Both sides are multiples of 14, as the network wants them.
CAMERA = Camera(308, 224, np.array([[200.0, 0, 153.5], [0, 200.0, 111.5], [0, 0, 1]]))

# The lidar looks along the camera (x forward, y left, z up), 0.35 m above it, 0.1 m to the right
# and 0.2 m behind: near edges hide other things from it than from the camera.
T_CAMERA_LIDAR = np.array(
    [[0.0, -1.0, 0.0, 0.1], [0.0, 0.0, -1.0, -0.35], [1.0, 0.0, 0.0, -0.2], [0.0, 0.0, 0.0, 1.0]]
)
AZIMUTH_STEP_RAD = math.radians(0.4)
ELEVATION_RAD = (math.radians(-22.5), math.radians(22.5))
RANGE_NOISE_M, DROPOUT, MAX_RANGE_M = 0.02, 0.05, 80.0

# The rangefinder sits below the camera and looks 20 degrees down, at the ground in the image.
_DOWN_RAD = math.radians(20)
T_CAMERA_RANGE = np.array(
    [
        [0.0, -1.0, 0.0, 0.0],
        [math.sin(_DOWN_RAD), 0.0, -math.cos(_DOWN_RAD), 0.1],
        [math.cos(_DOWN_RAD), 0.0, math.sin(_DOWN_RAD), 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
CONE_RAD, CONE_RANGE_M, CONE_NOISE_M = math.radians(15), (0.2, 6.0), 0.01

SETTING_OFF_S = 4.0  # the path starts from rest
ODOMETRY_S = 0.05
# Wheels 1 % smaller than believed, which spin now and then, and a gyroscope that drifts.
_STRETCHED, _DRIFT_RAD_S, _SLIP, _SLIPPING = 0.01, math.radians(0.1), 0.2, 0.02


@dataclass(frozen=True, eq=False)
class Moment:
    """What is true and what the sensors say at one instant; None of those that are not there.

    Attributes:
        image_rgb: HxWx3 uint8.
        depth_m: HxW float32, the truth, NaN for sky.
        sweep: of the lidar, all of it taken at that instant.
        right_rgb: HxWx3 uint8, of a second camera BASELINE_M to the right.
        sensor_depth_m: HxW float32, a depth camera's image, registered; NaN where it is blind.
        range_m: of the rangefinder; +inf and -inf as in REP 117.
        T_odom_base: 4x4, where odometry takes the robot to be.
    """

    image_rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    sweep: LidarScan | None = None
    right_rgb: NDArray[np.uint8] | None = None
    sensor_depth_m: NDArray[np.float32] | None = None
    range_m: float | None = None
    T_odom_base: Pose | None = None


class WorldDrive:
    """A drive through a random scene.

    Attributes:
        sensors: some of SENSORS.
        T_camera_base: 4x4, the robot's base on the ground below the camera (x forward, z up).
    """

    def __init__(
        self,
        seed: int,
        kind: str | None = None,
        rings: int = 16,
        sensors: Collection[str] = ('lidar',),
        traffic: bool = False,
        depth_camera: str = 'stereo',
    ) -> None:
        """Draw the scene and the way through it.

        Args:
            seed: draws both; the same seed gives the same drive.
            kind: of the scene; None draws it.
            rings: of the lidar, evenly over its 45 degrees.
            sensors: some of SENSORS.
            traffic: whether people and vehicles move.
            depth_camera: one of DEPTH_CAMERAS.

        Raises:
            DepthAnythingError: there is no such sensor or kind of scene.
        """
        for name in sensors:
            if name not in SENSORS:
                raise DepthAnythingError(f"no sensor '{name}': use some of {', '.join(SENSORS)}")
        self._seed, self._rings, self.sensors = seed, rings, tuple(dict.fromkeys(sensors))
        self._scene = random_scene(seed, kind)
        self._path = camera_path(self._scene, seed)
        self._traffic = Traffic(self._scene, self._path, seed) if traffic else None
        self._depth = DEPTH_CAMERAS[depth_camera]
        start = self._path(0.0)
        self.T_camera_base: Pose = np.linalg.inv(start) @ _below(start)
        self._odometry = dead_reckoning(
            self._bases(),
            _STRETCHED,
            (0.0, 0.0, _DRIFT_RAD_S * ODOMETRY_S),
            _SLIP,
            _SLIPPING,
            seed,
        )
        self._T_odom_world: list[Pose] = []  # by step

    @property
    def camera_height_m(self) -> float:
        """Height of the camera above the ground where the robot stands level."""
        return float(np.linalg.inv(self.T_camera_base)[2, 3])

    @property
    def camera_pitch_rad(self) -> float:
        """Tilt of the optical axis below the horizon where the robot stands level."""
        return float(-math.asin(np.linalg.inv(self.T_camera_base)[2, 2]))

    def moment(self, time_s: float) -> Moment:
        """Return what is seen after so long a drive."""
        scene = self._scene if self._traffic is None else self._traffic.at(time_s)
        T_world_camera = self._path(SETTING_OFF_S + time_s)
        picture = render(scene, T_world_camera, CAMERA.K, CAMERA.width, CAMERA.height)
        depth_m = np.where(np.isfinite(picture.depth_m), picture.depth_m, np.nan)
        # Of its own for each sensor and moment, so that none changes what another says.
        seed = self._seed + round(1000 * time_s)
        sweep = right_rgb = sensor_depth_m = range_m = T_odom_base = None
        if 'lidar' in self.sensors:
            sweep = self._sweep(scene, T_world_camera, seed)
        if 'stereo' in self.sensors:
            pose = beside(T_world_camera, BASELINE_M)
            right = render(scene, pose, CAMERA.K, CAMERA.width, CAMERA.height)
            right_rgb = noisy(right.image_rgb, np.random.default_rng([seed, 1]))
        if 'depth' in self.sensors:
            sensor_depth_m = self._depth(picture, CAMERA, np.random.default_rng([seed, 2]))
        if 'range' in self.sensors:
            pose = T_world_camera @ T_CAMERA_RANGE
            range_m = rangefinder(scene, pose, CONE_RAD, CONE_RANGE_M, CONE_NOISE_M, seed)
        if 'motion' in self.sensors:
            T_odom_base = self._T_odom_base(time_s)
        return Moment(
            picture.image_rgb,
            depth_m.astype(np.float32),
            sweep,
            right_rgb,
            sensor_depth_m,
            range_m,
            T_odom_base,
        )

    def _sweep(self, scene: Scene, T_world_camera: Pose, seed: int) -> LidarScan:
        return spinning_lidar(
            scene,
            T_world_camera @ T_CAMERA_LIDAR,
            self._rings,
            AZIMUTH_STEP_RAD,
            ELEVATION_RAD,
            noise_m=RANGE_NOISE_M,
            dropout=DROPOUT,
            seed=seed,
            max_range_m=MAX_RANGE_M,
        )

    def _T_odom_base(self, time_s: float) -> Pose:
        step = int(time_s / ODOMETRY_S)
        while len(self._T_odom_world) <= step:  # a step is what it is, whenever it is asked for
            true = self._base(len(self._T_odom_world) * ODOMETRY_S)
            self._T_odom_world.append(next(self._odometry) @ np.linalg.inv(true))
        return self._T_odom_world[step] @ self._base(time_s)

    def _bases(self) -> Iterator[Pose]:
        for step in itertools.count():
            yield self._base(step * ODOMETRY_S)

    def _base(self, time_s: float) -> Pose:
        return self._path(SETTING_OFF_S + time_s) @ self.T_camera_base


def _below(T_world_camera: Pose) -> Pose:
    """Return a level frame on the ground below a camera, x along its heading."""
    ahead = T_world_camera[:3, 2] * [1, 1, 0]
    ahead /= np.linalg.norm(ahead)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1] = ahead, np.cross([0, 0, 1], ahead)
    pose[:2, 3] = T_world_camera[:2, 3]
    return pose
