# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a camera that moves sees of a small textured place, and the depth that is true there.

World axes are those of an optical frame: x right, y down, z forward. Ground 1.5 m below the origin,
a wall at 12 m, and before it a box whose face, 2.4 m wide and 2 m high, is at 5 m.
"""

from functools import lru_cache

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from depth_anything_ros.camera import Camera

CAMERA = Camera.from_calibration(320, 240, [[260.0, 0, 158.5], [0, 255.0, 121], [0, 0, 1]])
SECOND = 1_000_000_000
SHIFT, SLOPE = 0.1, 1.6


def pose(x=0.0, y=0.0, z=0.0, turn_deg=(0.0, 0.0, 0.0)):
    """Return T_world_camera, 4x4, with a rotation vector in degrees."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(np.deg2rad(turn_deg)).as_matrix()
    T[:3, 3] = x, y, z
    return T


def look(T_world_camera, camera=CAMERA, box_m=(0.0, 0.0), seed=0):
    """Return an image, HxWx3 uint8 RGB of texture and nearness, and its true depth, HxW in metres.

    Args:
        T_world_camera: 4x4 pose.
        camera: what sees it, distorted or not.
        box_m: how far the box has moved to the right and down.
        seed: of the texture.
    """
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.ones((*camera.size, 3))
    rays[..., :2] = camera.undistort(np.stack([u, v], axis=-1)).reshape(*camera.size, 2)
    x, y, z = T_world_camera[:3, 3]
    rx, ry, rz = np.moveaxis(rays @ T_world_camera[:3, :3].T, -1, 0)
    with np.errstate(divide='ignore', invalid='ignore'):
        depth_m = np.where(rz > 0, (12 - z) / rz, np.inf)
        ground_m = np.where(ry > 0, (1.5 - y) / ry, np.inf)
        box_face_m = np.where(rz > 0, (5 - z) / rz, np.inf)
    across, down = x + rx * box_face_m - box_m[0], y + ry * box_face_m - box_m[1]
    on_box = (across > 0.0) & (across < 2.4) & (down > -0.5) & (down < 1.5)
    on_box &= box_face_m < np.minimum(depth_m, ground_m)
    on_ground = ~on_box & (ground_m < depth_m)
    depth_m = np.where(on_box, box_face_m, np.where(on_ground, ground_m, depth_m))
    wall_x, wall_y, far = x + rx * depth_m, y + ry * depth_m, z + rz * depth_m
    gray = _texture(wall_x, wall_y, 20, seed)
    gray = np.where(on_ground, _texture(wall_x, far, 30, seed + 1), gray)
    gray = np.where(on_box, _texture(across, down, 50, seed + 2), gray)
    nearness = 255 * (SHIFT + SLOPE / np.maximum(depth_m, 1.0))
    return np.stack([nearness, gray, gray], axis=-1).clip(0, 255).astype(np.uint8), depth_m


def _texture(x_m, y_m, per_metre, seed):
    where = [np.mod(np.clip(m, -1e4, 1e4) * per_metre, 512).astype(np.float32) for m in (x_m, y_m)]
    return cv2.remap(_noise(seed), *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


@lru_cache
def _noise(seed):
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=(512, 512)), 1.5, mode='wrap')
    return np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.float32)
