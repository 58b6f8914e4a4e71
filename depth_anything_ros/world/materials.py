# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Colour of a surface from procedural patterns and noise."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F

from depth_anything_ros.world.primitives import Pattern, Primitives

_NOISE_SIZE = 256


@lru_cache(maxsize=4)
def _noise_image(device: torch.device) -> torch.Tensor:
    """Fractal noise that repeats, 1x1xSxS about 0 with spread 1."""
    generator = torch.Generator().manual_seed(7)
    total = torch.zeros(1, 1, _NOISE_SIZE, _NOISE_SIZE)
    size, weight = 4, 1.0
    while size <= _NOISE_SIZE:
        cells = F.pad(torch.randn(1, 1, size, size, generator=generator), (1, 1, 1, 1),
                      mode='circular')
        scale = _NOISE_SIZE // size
        smooth = F.interpolate(cells, scale_factor=scale, mode='bilinear', align_corners=False)
        total += weight * smooth[..., scale:-scale, scale:-scale]
        size, weight = size * 2, weight * 0.75
    total = (total - total.mean()) / total.std()
    return F.pad(total, (1, 1, 1, 1), mode='circular').to(device)


def noise(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Fractal noise with period 1 in both arguments, about 0 with spread 1.

    Args:
        u: (P,) float32.
        v: (P,) float32.

    Returns:
        (P,) float32.
    """
    image = _noise_image(u.device)
    grid = torch.stack([u - u.floor(), v - v.floor()], dim=-1)
    grid = (grid * _NOISE_SIZE + 1.0) * (2.0 / (_NOISE_SIZE + 2)) - 1.0
    return F.grid_sample(image, grid[None, None], align_corners=False)[0, 0, 0]


def _mix(pattern: Pattern, u: torch.Tensor, v: torch.Tensor, period: torch.Tensor
         ) -> torch.Tensor:
    """Share of the second colour, 0 to 1, at u, v in metres."""
    a, b = u / period, v / period
    fa, fb = a - a.floor(), b - b.floor()
    if pattern == Pattern.CHECKER:
        return torch.remainder(a.floor() + b.floor(), 2.0)
    if pattern == Pattern.BRICK:
        row = (3 * b).floor()
        fa = torch.remainder(a + 0.5 * torch.remainder(row, 2.0), 1.0)
        return ((3 * b - row < 0.15) | (fa < 0.05)).float()
    if pattern == Pattern.WINDOWS:
        pane = (fa > 0.2) & (fa < 0.8) & (fb > 0.3) & (fb < 0.8)
        frame = ((fa - 0.5).abs() < 0.02)
        return (pane & ~frame).float()
    if pattern == Pattern.STRIPES:
        return (fa < 0.5).float()
    if pattern == Pattern.LANES:
        near = (fb - 0.5).abs() > 0.5 - 0.06 / period
        dash = torch.remainder(u, 9.0) < 4.0
        return (near & dash).float()
    if pattern == Pattern.TILES:
        return ((fa < 0.04) | (fb < 0.04)).float()
    if pattern == Pattern.FOLIAGE:
        return torch.sigmoid(3.0 * noise(a / 6, b / 6))
    return torch.zeros_like(a)


def albedo(primitives: Primitives, index: torch.Tensor, u: torch.Tensor, v: torch.Tensor,
           footprint_m: torch.Tensor) -> torch.Tensor:
    """Surface colour.

    Args:
        primitives: N primitives.
        index: (P,) int64, the primitive of each point.
        u: (P,) surface coordinate in metres.
        v: (P,) surface coordinate in metres.
        footprint_m: (P,) size of a pixel on the surface; finer detail fades to its mean.

    Returns:
        (P, 3) float32 RGB.
    """
    texture = primitives.texture[index]
    period, strength, noise_period, offset = texture.unbind(dim=-1)
    pattern = primitives.pattern[index]
    mix = torch.zeros_like(u)
    for kind in Pattern:
        if kind == Pattern.PLAIN:
            continue
        at = torch.nonzero(pattern == kind)[:, 0]
        if at.numel():
            mix[at] = _mix(kind, u[at], v[at], period[at])
    sharp = (period / (3 * footprint_m)).clamp(0, 1)
    average = mix.new_tensor([0.0, 0.5, 0.2, 0.28, 0.5, 0.02, 0.08, 0.5])[pattern]
    mix = torch.lerp(average, mix, sharp)
    first, second = primitives.colours[index].unbind(dim=1)
    colour = first + (second - first) * mix[:, None]
    fine = (noise_period / (12 * footprint_m)).clamp(0, 1)
    grain = noise(u / noise_period + offset, v / noise_period + 0.37 * offset)
    coarse = noise(u / (9 * noise_period) + offset, v / (9 * noise_period))
    factor = 1 + strength * 0.6 * (0.7 * fine * grain + 0.5 * coarse)
    return colour * factor.clamp(0.15, 2.0)[:, None]
