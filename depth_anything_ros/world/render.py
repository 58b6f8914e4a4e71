# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a scene with true depth and semantic class per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.world.materials import albedo, noise
from depth_anything_ros.world.primitives import Primitives, Semantic, Shape
from depth_anything_ros.world.raycast import cast
from depth_anything_ros.world.scene import Scene

_TILE = 8
_SHADOW_GAP_M = 0.05


@dataclass(frozen=True)
class Render:
    """One picture.

    Attributes:
        image_rgb: HxWx3 uint8.
        depth_m: HxW float32, Z along the optical axis in metres; +inf for sky.
        semantic: HxW uint8, values of Semantic.
    """

    image_rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    semantic: NDArray[np.uint8]


def pixel_rays(K: ArrayLike, width: int, height: int, D: Sequence[float] = (),
               model: str = 'plumb_bob') -> NDArray[np.float64]:
    """Rays through the pixel centres, with z = 1 so that the ray parameter is Z depth.

    Args:
        K: 3x3 intrinsics in pixels.
        width: pixels.
        height: pixels.
        D: distortion coefficients; empty for a pinhole.
        model: distortion model as CameraInfo names it.

    Returns:
        HxWx3 float64, camera optical frame.
    """
    K = np.asarray(K, dtype=np.float64)
    return Camera(width, height, K, tuple(D) if any(D) else (), model).optical_rays()


def render(
    scene: Scene,
    T_world_camera: ArrayLike,
    K: ArrayLike,
    width: int,
    height: int,
    D: Sequence[float] = (),
    model: str = 'plumb_bob',
    device: torch.device | str = 'cpu',
) -> Render:
    """Render a scene by casting one ray a pixel, and one more for the shadow.

    Args:
        scene: what to render.
        T_world_camera: 4x4 pose of the camera's optical frame (x right, y down, z forward).
        K: 3x3 intrinsics in pixels.
        width: pixels.
        height: pixels.
        D: distortion coefficients; empty for a pinhole.
        model: distortion model as CameraInfo names it.
        device: where to compute.

    Returns:
        Colour, Z depth in metres (+inf for sky) and semantic class.
    """
    pose = torch.as_tensor(np.asarray(T_world_camera), dtype=torch.float32, device=device)
    primitives = scene.primitives.to(device)
    rays = torch.as_tensor(pixel_rays(K, width, height, D, model), dtype=torch.float32,
                           device=device)
    directions = _tiled(rays @ pose[:3, :3].T)  # Tx3xR
    origin = pose[:3, 3]
    t, index = cast(primitives, origin, directions)
    colour = _shade(scene, primitives, origin, directions, t, index,
                    1.0 / float(np.asarray(K)[0][0]))
    semantic = torch.where(index >= 0, primitives.semantic[index.clamp(min=0)],
                           int(Semantic.SKY)).to(torch.uint8)
    picture = (255 * colour.clamp(0, 1).sqrt() + 0.5).to(torch.uint8)  # gamma 2
    return Render(
        np.stack([_untiled(c, height, width) for c in picture.unbind(dim=-1)], axis=-1),
        _untiled(t, height, width), _untiled(semantic, height, width))


def _tiled(rays: torch.Tensor) -> torch.Tensor:
    """HxWx3 to tiles Tx3xR, repeating the last row and column to fill the tiles."""
    height, width, _ = rays.shape
    rows, columns = math.ceil(height / _TILE), math.ceil(width / _TILE)
    v = torch.arange(rows * _TILE, device=rays.device).clamp(max=height - 1)
    u = torch.arange(columns * _TILE, device=rays.device).clamp(max=width - 1)
    tiles = rays[v][:, u].reshape(rows, _TILE, columns, _TILE, 3)
    return tiles.permute(0, 2, 4, 1, 3).reshape(rows * columns, 3, _TILE * _TILE)


def _untiled(tiles: torch.Tensor, height: int, width: int) -> NDArray[Any]:
    """Tiles TxR back to HxW."""
    rows, columns = math.ceil(height / _TILE), math.ceil(width / _TILE)
    image = tiles.reshape(rows, columns, _TILE, _TILE).permute(0, 2, 1, 3)
    image = image.reshape(rows * _TILE, columns * _TILE)[:height, :width]
    result: NDArray[Any] = image.cpu().numpy().copy()
    return result


def _surface(primitives: Primitives, index: torch.Tensor, points: torch.Tensor
             ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Outward normal (P, 3) in the world and surface coordinates u, v (P,) in metres."""
    yaw, half = primitives.yaw_rad[index], primitives.half_size_m[index]
    shape = primitives.shape[index]
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    offset = points - primitives.centre_m[index]
    x = cos * offset[:, 0] + sin * offset[:, 1]
    y = cos * offset[:, 1] - sin * offset[:, 0]
    z = offset[:, 2]
    unit = torch.stack([x, y, z], dim=-1) / half
    k = primitives.taper[index] / 2
    lean = torch.where((shape == Shape.WEDGE)[:, None], k, 0.0)
    # How close each of the three pairs of faces is: 1 on the face.
    flat = torch.cat([unit[:, :2].abs() + lean * (unit[:, 2:] + 1), unit[:, 2:].abs()], dim=1)
    face = flat.argmax(dim=1)
    round_side = (shape == Shape.CYLINDER) & (unit[:, 2].abs() < 0.9999)
    sign = torch.sign(unit)
    box = torch.nn.functional.one_hot(face, 3).to(unit.dtype) * sign
    side = torch.where(face < 2, lean.gather(1, face.clamp(max=1)[:, None])[:, 0], 0.0)
    box[:, 2] += side
    top = torch.stack([torch.zeros_like(x), torch.zeros_like(x), sign[:, 2]], dim=-1)
    normal = torch.where((shape == Shape.CYLINDER)[:, None], top, box)
    normal = torch.where(round_side[:, None], unit * unit.new_tensor([1.0, 1.0, 0.0]), normal)
    ball = shape == Shape.ELLIPSOID
    normal = torch.where(ball[:, None], unit, normal) / half
    normal = torch.nn.functional.normalize(normal, dim=-1)
    normal = torch.stack([cos * normal[:, 0] - sin * normal[:, 1],
                          sin * normal[:, 0] + cos * normal[:, 1], normal[:, 2]], dim=-1)
    around = torch.nonzero(round_side | ball)[:, 0]
    u = torch.where(face == 0, y, x)
    v = torch.where(face == 2, y, z)
    u[around] = torch.atan2(y[around], x[around]) * half[around, 0]
    v[around] = z[around]
    return normal, u, v


def _sky(scene: Scene, directions: torch.Tensor) -> torch.Tensor:
    """Sky colour (P, 3) towards unit directions (P, 3)."""
    up = directions[:, 2].clamp(min=0)
    horizon = directions.new_tensor(scene.sky.horizon)
    zenith = directions.new_tensor(scene.sky.zenith)
    colour = horizon + (zenith - horizon) * up.sqrt()[:, None]
    plane = directions[:, :2] / (up + 0.15)[:, None]
    offset = (scene.seed % 97) / 97
    cloud = torch.sigmoid(4 * (noise(plane[:, 0] / 9 + offset, plane[:, 1] / 9) - 1.2
                               + 2 * scene.sky.clouds))
    return colour + (horizon * 1.05 - colour) * (cloud * scene.sky.clouds)[:, None]


def _shade(scene: Scene, primitives: Primitives, origin: torch.Tensor, directions: torch.Tensor,
           t: torch.Tensor, index: torch.Tensor, pixel_angle: float) -> torch.Tensor:
    """Linear colour (T, R, 3) of every ray."""
    tiles, _, rays = directions.shape
    flat = directions.permute(0, 2, 1).reshape(-1, 3)
    length = flat.norm(dim=-1)
    hit = torch.nonzero(index.reshape(-1) >= 0)[:, 0]
    depth, which = t.reshape(-1)[hit], index.reshape(-1)[hit]
    points = origin + depth[:, None] * flat[hit]
    normal, u, v = _surface(primitives, which, points)
    facing = (normal * flat[hit]).sum(dim=-1).abs() / length[hit]
    surface = albedo(primitives, which, u, v, pixel_angle * depth / facing.clamp(min=0.05))

    lamp = scene.light
    to_light = points.new_tensor(lamp.position_m) - points
    distance = to_light.norm(dim=-1)
    direct = (normal * to_light).sum(dim=-1).clamp(min=0) / distance
    direct = direct * lamp.strength / (1 + (distance / lamp.reach_m) ** 2)
    if lamp.strength > 0:
        direct = direct * _lit(scene, primitives, points, distance, hit, (tiles, rays))
    ambient = lamp.ambient * (0.72 + 0.28 * normal[:, 2])
    # Where a thing stands on the ground less light comes from around it.
    low = ((points[:, 2] + 0.05) / 0.6).clamp(0, 1)
    ambient = ambient * torch.where(normal[:, 2] < 0.5, 0.6 + 0.4 * low, 1.0)
    light = ambient[:, None] + direct[:, None] * points.new_tensor(lamp.colour)
    colour = surface * light
    clear = torch.exp(-scene.sky.haze_per_m * depth * length[hit])[:, None]
    colour = torch.lerp(points.new_tensor(scene.sky.horizon).expand_as(colour), colour, clear)

    picture = torch.empty_like(flat)
    picture[hit] = colour
    empty = torch.nonzero(index.reshape(-1) < 0)[:, 0]
    if empty.numel():
        picture[empty] = _sky(scene, flat[empty] / length[empty][:, None])
    return picture.reshape(tiles, rays, 3)


def _lit(scene: Scene, primitives: Primitives, points: torch.Tensor, distance_m: torch.Tensor,
         hit: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """1 where light reaches the points (P, 3), 0 in shadow."""
    source = points.new_tensor(scene.light.position_m)
    # Sky pixels take part with some point of their tile, so that they do not widen it.
    tile_of = hit // shape[1]
    some = torch.zeros(shape[0], 3, device=points.device)
    some[tile_of] = points
    targets = some[:, None, :].expand(-1, shape[1], -1).reshape(-1, 3).clone()
    targets[hit] = points
    used = torch.unique(tile_of)
    directions = (targets - source).reshape(*shape, 3)[used].permute(0, 2, 1).contiguous()
    t, _ = cast(primitives, source, directions)
    all_t = torch.full(shape, torch.inf, device=points.device)
    all_t[used] = t
    return (all_t.reshape(-1)[hit] * distance_m > distance_m - _SHADOW_GAP_M).float()
