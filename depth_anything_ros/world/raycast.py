# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Analytic ray casting against primitives, in tiles of rays that share an origin.

A tile is culled against a primitive by the planes that bound the tile's rays, so the work is
tiles x primitives for the culling and about three intersections per ray after it.
"""

from __future__ import annotations

import torch

from depth_anything_ros.world.primitives import Primitives, Shape

_TINY = 1e-12
_GROUP = 13  # tiles culled together before each is looked at


def to_local(primitives: Primitives) -> torch.Tensor:
    """Return the linear map from world to unit-shape coordinates.

    Args:
        primitives: N primitives.

    Returns:
        (N, 3, 3) float32: rows are the local axes in the world frame over the half sizes.
    """
    cos, sin = torch.cos(primitives.yaw_rad), torch.sin(primitives.yaw_rad)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], dim=-1)
    return rows.reshape(-1, 3, 3) / primitives.half_size_m[:, :, None]


def _bounding_planes(directions: torch.Tensor) -> torch.Tensor:
    """Inward normals of four planes through the origin that bound each tile's rays.

    Args:
        directions: (T, 3, R), each tile's rays.

    Returns:
        (T, 4, 3); all zeros, which never culls, where rays spread by 90 degrees or more.
    """
    axis = torch.nn.functional.normalize(directions.mean(dim=-1), dim=-1)  # Tx3
    helper = torch.where(axis[:, 2:3].abs() < 0.7, axis.new_tensor([0.0, 0.0, 1.0]),
                         axis.new_tensor([1.0, 0.0, 0.0]))
    across = torch.nn.functional.normalize(torch.linalg.cross(axis, helper), dim=-1)
    upward = torch.linalg.cross(across, axis)
    frame = torch.stack([across, upward, axis], dim=1)  # Tx3x3
    x, y, z = torch.bmm(frame, directions).unbind(dim=1)  # TxR each
    narrow = (z > 0).all(dim=-1)[:, None]
    z = z.clamp(min=_TINY)
    x, y = x / z, y / z
    low_x, high_x = x.aminmax(dim=-1)
    low_y, high_y = y.aminmax(dim=-1)
    planes = torch.stack([
        across - low_x[:, None] * axis, high_x[:, None] * axis - across,
        upward - low_y[:, None] * axis, high_y[:, None] * axis - upward,
    ], dim=1)
    return planes * narrow[:, :, None]


def _reaches(primitives: Primitives, which: torch.Tensor, normals: torch.Tensor,
             origin: torch.Tensor) -> torch.Tensor:
    """Whether primitives reach to the inner side of every plane through the origin.

    Args:
        primitives: N primitives.
        which: (M,) int64, one primitive a row.
        normals: (G, 4, 3, 1) or (G, 4, 3, M) inward normals.
        origin: (3,), a point of all planes.

    Returns:
        (G, M) bool.
    """
    yaw, half = primitives.yaw_rad[which], primitives.half_size_m[which].T  # 3xM
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x, y, z = normals.unbind(dim=2)  # Gx4xM
    along = (x * (cos * half[0]) + y * (sin * half[0])).abs_()
    across = (y * (cos * half[1]) - x * (sin * half[1])).abs_()
    upward = (z * half[2]).abs_()
    shape = primitives.shape[which]
    level = torch.where(shape >= Shape.ELLIPSOID, torch.hypot(along, across), along + across)
    reach = torch.where(shape == Shape.ELLIPSOID, torch.hypot(level, upward), level + upward)
    centre = (primitives.centre_m[which] - origin).T  # 3xM
    return (reach + x * centre[0] + y * centre[1] + z * centre[2]).amin(dim=1) >= -1e-4


def _candidates(primitives: Primitives, origin: torch.Tensor, directions: torch.Tensor
                ) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs (tile, primitive) that may meet, culled in groups of tiles and then one by one.

    Args:
        primitives: N primitives.
        origin: (3,), shared by all rays.
        directions: (T, 3, R).

    Returns:
        tile: (M,) int64.
        which: (M,) int64, the primitive.
    """
    tiles, _, rays = directions.shape
    device = directions.device
    groups = -(-tiles // _GROUP)
    member = torch.arange(groups * _GROUP, device=device).clamp(max=tiles - 1)
    grouped = directions[member].reshape(groups, _GROUP, 3, rays).permute(0, 2, 1, 3)
    whole = _bounding_planes(grouped.reshape(groups, 3, _GROUP * rays))[..., None]  # Gx4x3x1
    every = torch.arange(len(primitives), device=device)
    group, which = torch.nonzero(_reaches(primitives, every, whole, origin), as_tuple=True)
    planes = _bounding_planes(directions)[member].reshape(groups, _GROUP, 4, 3)
    near = planes.permute(1, 2, 3, 0)[..., group]  # _GROUPx4x3xM
    place, pair = torch.nonzero(_reaches(primitives, which, near, origin), as_tuple=True)
    tile = group[pair] * _GROUP + place
    real = tile < tiles
    return tile[real], which[pair[real]]


def _slab(near: torch.Tensor, far: torch.Tensor, o: torch.Tensor, d: torch.Tensor) -> tuple[
        torch.Tensor, torch.Tensor]:
    """Cut the interval [near, far] to |o + t d| <= 1."""
    inverse = 1.0 / torch.where(d.abs() < _TINY, _TINY, d)
    middle, reach = -o * inverse, inverse.abs()
    return torch.maximum(near, middle - reach), torch.minimum(far, middle + reach)


def _half_space(near: torch.Tensor, far: torch.Tensor, room: torch.Tensor, d: torch.Tensor
                ) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut the interval [near, far] to t d <= room."""
    t = room / torch.where(d.abs() < _TINY, _TINY, d)
    entering = d < -_TINY
    return (torch.where(entering, torch.maximum(near, t), near),
            torch.where(entering, far, torch.minimum(far, t)))


def _round(near: torch.Tensor, far: torch.Tensor, o: list[torch.Tensor], d: list[torch.Tensor]
           ) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut the interval [near, far] to the unit circle (two axes) or sphere (three).

    Solved about the ray's closest point: the usual discriminant loses all digits in float32
    where the shape is small against its distance.
    """
    square = sum((c * c for c in d[1:]), d[0] * d[0]).clamp(min=_TINY * _TINY)
    closest = -sum((a * b for a, b in zip(o[1:], d[1:])), o[0] * d[0]) / square
    gaps = [a + closest * b for a, b in zip(o, d)]
    left = 1.0 - sum((g * g for g in gaps[1:]), gaps[0] * gaps[0])
    reach = torch.sqrt(left.clamp(min=0) / square)
    near = torch.where(left > 0, torch.maximum(near, closest - reach), torch.inf)
    return near, torch.minimum(far, closest + reach)


def _intersect(shape: Shape, o: list[torch.Tensor], d: list[torch.Tensor], taper: torch.Tensor
               ) -> torch.Tensor:
    """Ray parameter of the entry into a unit shape, inf for a miss or a start inside.

    Args:
        shape: which unit shape.
        o: x, y, z of the origins in local coordinates, (M, 1) each.
        d: x, y, z of the directions in local coordinates, (M, R) each.
        taper: (M, 2), for wedges.

    Returns:
        (M, R) float32.
    """
    near, far = torch.full_like(d[0], -torch.inf), torch.full_like(d[0], torch.inf)
    if shape == Shape.ELLIPSOID:
        near, far = _round(near, far, o, d)
    else:
        near, far = _slab(near, far, o[2], d[2])
        if shape == Shape.BOX:
            near, far = _slab(near, far, o[0], d[0])
            near, far = _slab(near, far, o[1], d[1])
        elif shape == Shape.CYLINDER:
            near, far = _round(near, far, o[:2], d[:2])
        else:
            for axis in (0, 1):
                k = taper[:, axis, None] / 2  # |x| + k (z + 1) <= 1
                room, lean = 1 - k - k * o[2], k * d[2]
                near, far = _half_space(near, far, room - o[axis], lean + d[axis])
                near, far = _half_space(near, far, room + o[axis], lean - d[axis])
    return torch.where((near <= far) & (near > 0), near, torch.inf)


def cast(primitives: Primitives, origin: torch.Tensor, directions: torch.Tensor) -> tuple[
        torch.Tensor, torch.Tensor]:
    """First hit of rays that start at one point.

    Args:
        primitives: N primitives.
        origin: (3,) float32, world frame, metres.
        directions: (T, 3, R) float32, world frame, tiles of neighbouring rays; any length.

    Returns:
        t: (T, R) float32, origin + t * direction is the hit; inf for none.
        index: (T, R) int64, the primitive hit; -1 for none.
    """
    tiles, _, rays = directions.shape
    t = torch.full((tiles, rays), torch.inf, device=directions.device)
    index = torch.full((tiles, rays), -1, dtype=torch.int64, device=directions.device)
    all_tiles, all_which = _candidates(primitives, origin, directions)
    shapes = primitives.shape[all_which]
    linear = to_local(primitives)
    start = torch.einsum('nij,nj->ni', linear, origin - primitives.centre_m)  # Nx3
    pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for shape in Shape:
        tile, which = all_tiles[shapes == shape], all_which[shapes == shape]
        if tile.numel() == 0:
            continue
        o = list(start[which][:, :, None].unbind(dim=1))  # Mx1
        m, world = linear[which], directions[tile]
        x, y, z = world.unbind(dim=1)  # MxR
        d = [m[:, 0, 0:1] * x + m[:, 0, 1:2] * y, m[:, 1, 0:1] * x + m[:, 1, 1:2] * y,
             m[:, 2, 2:3] * z]
        entry = _intersect(shape, o, d, primitives.taper[which])
        t.scatter_reduce_(0, tile[:, None].expand(-1, rays), entry, 'amin')
        pairs.append((tile, which, entry))
    for tile, which, entry in pairs:
        pair, lane = torch.nonzero((entry == t[tile]) & entry.isfinite(), as_tuple=True)
        index[tile[pair], lane] = which[pair]
    return t, index
