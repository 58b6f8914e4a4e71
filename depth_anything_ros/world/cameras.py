# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What real cameras make of a picture: noise, a second camera's place, and depth with holes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.world.render import Render
from depth_anything_ros.world.trajectory import Pose

Depth = NDArray[np.float32]

BASELINE_M = 0.12  # of a stereo pair
IMAGE_NOISE = 2.0  # gray levels
_EDGE = 0.05  # share of depth by which neighbours differ at an edge
_RETURN = 0.02  # of the light that a white surface sends back from half the farthest distance
_TEXTURE = 1.5  # gray levels: blocks with a smaller deviation match anywhere
_BLOCK_PX = 9


def noisy(
    image: NDArray[Any], rng: np.random.Generator, sigma: float = IMAGE_NOISE
) -> NDArray[np.uint8]:
    """Return an image, of any shape and gray levels 0 to 255, with the noise of a sensor."""
    noise = rng.normal(0.5, sigma, image.shape)
    seen: NDArray[np.uint8] = np.clip(image + noise, 0, 255).astype(np.uint8)
    return seen


def beside(T_world_camera: Pose, right_m: float) -> Pose:
    """Return the pose of a camera that looks the same way from so far to the right."""
    pose: Pose = T_world_camera.copy()
    pose[:3, 3] += right_m * pose[:3, 0]
    return pose


def time_of_flight(
    picture: Render,
    camera: Camera,
    rng: np.random.Generator,
    sigma_m: float = 0.01,
    range_m: tuple[float, float] = (0.2, 8.0),
) -> Depth:
    """Measure a picture's depth by light of one's own.

    Too little of it comes back from what is dark, at a grazing angle or far away, and at an edge it
    comes from two surfaces at once. Noise is the same everywhere.

    Args:
        picture: what is there.
        camera: its pinhole camera.
        rng: of the noise.
        sigma_m: standard deviation of depth.
        range_m: nearest and farthest depth.

    Returns:
        HxW depth in metres, NaN where the camera is blind.
    """
    depth_m = picture.depth_m
    white = picture.image_rgb.mean(axis=2) / 255
    with np.errstate(invalid='ignore'):
        back = white * _facing(depth_m, camera) * (range_m[1] / 2 / depth_m) ** 2
        seen = (back > _RETURN) & ~_at_edge(depth_m) & _within(depth_m, range_m)
    return _measured(depth_m, np.full_like(depth_m, sigma_m), seen, rng)


def stereo_depth(
    picture: Render,
    camera: Camera,
    rng: np.random.Generator,
    sigma_square: float = 0.0025,
    baseline_m: float = 0.05,
    range_m: tuple[float, float] = (0.3, 20.0),
) -> Depth:
    """Measure a picture's depth by the disparity to a second camera on the right.

    Blind is a band on the left, which the other does not see, what has no texture, and edges. Noise
    grows with the square of depth.

    Args:
        picture: what is there.
        camera: its pinhole camera.
        rng: of the noise.
        sigma_square: standard deviation of depth is this times z^2, 1/m.
        baseline_m: to the second camera.
        range_m: nearest and farthest depth.

    Returns:
        HxW depth in metres, NaN where the camera is blind.
    """
    depth_m = picture.depth_m
    gray = picture.image_rgb.mean(axis=2).astype(np.float32)
    box = (_BLOCK_PX, _BLOCK_PX)
    variance = cv2.blur(gray**2, box) - cv2.blur(gray, box) ** 2
    disparity_px = camera.K[0, 0] * baseline_m / depth_m
    seen = (np.arange(camera.width) >= disparity_px) & (variance > _TEXTURE**2)
    seen &= ~_at_edge(depth_m) & _within(depth_m, range_m)
    with np.errstate(invalid='ignore'):
        return _measured(depth_m, sigma_square * depth_m**2, seen, rng)


def _measured(
    depth_m: Depth, sigma_m: Depth, seen: NDArray[np.bool_], rng: np.random.Generator
) -> Depth:
    noise = rng.standard_normal(depth_m.shape)
    true_m, sigma_m = (np.where(seen, values, np.nan) for values in (depth_m, sigma_m))
    return (true_m + sigma_m * noise).astype(np.float32)


def _within(depth_m: Depth, range_m: tuple[float, float]) -> NDArray[np.bool_]:
    return (depth_m >= range_m[0]) & (depth_m <= range_m[1])


def _at_edge(depth_m: Depth) -> NDArray[np.bool_]:
    """Tell the pixels beside which depth jumps; a grazing plane alone does not."""
    box = np.ones((3, 3), np.uint8)
    inverse = (1 / depth_m).astype(np.float32)  # on a plane linear in the pixel, and 0 for sky
    bent = 2 * inverse - cv2.erode(inverse, box) - cv2.dilate(inverse, box)
    return np.asarray(np.abs(bent) > _EDGE * inverse, dtype=np.bool_)


def _facing(depth_m: Depth, camera: Camera) -> NDArray[np.float64]:
    """Return the cosine between each ray and the surface that it meets, NaN beside the sky."""
    rays = camera.rays()
    with np.errstate(invalid='ignore'):
        points = rays * depth_m[..., None]
        down, along = np.gradient(points, axis=(0, 1))
        normal = np.cross(along, down)
        lengths = np.linalg.norm(normal, axis=2) * np.linalg.norm(rays, axis=2)
        cosine: NDArray[np.float64] = np.abs((normal * rays).sum(axis=2)) / lengths
    return cosine
