# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metric depth + viewing rays + colour -> packed cloud bytes, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import CloudConfig

_LEAST_RADIUS_PX = 2
_SOFT_NETWORK_PX = 8.0  # radius that finds edges as soft as a Gaussian of 5 network pixels
_LEAST_SIDE_PX = 16  # an image of fewer samples is not thinned further
_SAME_SURFACE = 0.05  # relative inverse depth
_GOES_ON = 0.35  # of a rise, over half its length; on a plane it is 0.5


@dataclass(frozen=True, eq=False)
class PackedCloud:
    """The numbers of a PointCloud2.

    Attributes:
        points: rows x columns x F float32; F fields in order: x, y, z in metres in the rectified
            optical frame, rgb (bits 0x00RRGGBB), and stddev in metres where asked for.
        is_dense: whether no point is NaN.
    """

    points: Tensor
    is_dense: bool

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the float32 fields, four bytes each, in order."""
        return ('x', 'y', 'z', 'rgb', 'stddev')[: self.points.shape[-1]]


def flying_pixels(depth_m: Tensor, threshold: float, network_px: float = 1.0) -> Tensor:
    """Find pixels that hang in the air between a near and a far surface.

    A network draws a depth edge as a ramp, about as many of its own pixels wide whatever the size
    of the image. So the ramp is looked for at radii of 2, 4, 8, ... pixels, on samples as far
    apart: it is a rise of inverse depth that goes on to neither side (on a plane, however steep,
    inverse depth is affine in the pixel and goes on; so it does on one side of a crease). Its
    pixels are those whose depth is neither that of the one surface nor of the other.

    Args:
        depth_m: HxW float32, NaN invalid.
        threshold: a rise of inverse depth by less than four times this part of it is no edge, and
            twice as much at four times the radius; 0 marks nothing.
        network_px: image pixels per pixel of the network.

    Returns:
        HxW bool.
    """
    if threshold <= 0:
        return torch.zeros_like(depth_m, dtype=torch.bool)
    levels = [depth_m.reciprocal().nan_to_num_(0.0)]
    radius = _LEAST_RADIUS_PX
    while radius < _SOFT_NETWORK_PX * network_px and min(levels[-1].shape) >= _LEAST_SIDE_PX:
        levels.append(levels[-1][::2, ::2].contiguous())
        radius *= 2
    # From here on yes and no are the sign of a number: comparing is dear, and grids of numbers can
    # be refined linearly.
    flying: Tensor | None = None
    for i, level in reversed(list(enumerate(levels))):
        # What is wider is rarer an edge, so more is asked of it.
        coarser, flying = flying, _on_ramps(level, threshold * 2 ** (i / 2))
        if coarser is not None:
            rows, columns = (2 * n - 1 for n in coarser.shape)
            refined = F.interpolate(
                coarser[None, None], (rows, columns), mode='bilinear', align_corners=True
            )[0, 0]
            part = flying[:rows, :columns]
            torch.maximum(part, refined, out=part)
    assert flying is not None
    return flying > 0


def _on_ramps(inverse: Tensor, threshold: float) -> Tensor:
    """Return a grid that is positive on ramps with a radius of two of its pixels."""
    found = torch.full_like(inverse, -1.0)
    coarse = inverse[::2, ::2]
    for axis in (0, 1):
        inner = inverse.shape[axis] - 4  # pixels that have two neighbours on either side
        if inner <= 0:
            continue
        ramp = F.interpolate(_ramps(coarse, axis, threshold)[None, None], scale_factor=2)[0, 0]
        ramp = ramp[: inverse.shape[0], : inverse.shape[1]].narrow(axis, 2, inner)
        part = found.narrow(axis, 2, inner)
        torch.maximum(part, torch.minimum(ramp, _between(inverse, axis)), out=part)
    return found


def _between(inverse: Tensor, axis: int) -> Tensor:
    """Return what is positive where a pixel lies between those two before and two after it."""
    inner = inverse.shape[axis] - 4
    before, here, after = (inverse.narrow(axis, start, inner) for start in (0, 2, 4))
    bend = (before + after).sub_(here, alpha=2).abs_()
    return (after - before).abs_().sub_(bend).sub_(here, alpha=2 * _SAME_SURFACE)


def _ramps(inverse: Tensor, axis: int, threshold: float) -> Tensor:
    """Return what is positive next to a rise, one pixel to either side, that goes on nowhere."""
    border = (0, 0, 2, 2) if axis == 0 else (2, 2, 0, 0)
    steps = F.pad(inverse[None], border, mode='replicate')[0].diff(dim=axis)
    n = inverse.shape[axis]
    before, first, second, after = (steps.narrow(axis, start, n) for start in range(4))
    rise = first + second
    goes_on = torch.maximum(before * rise, after * rise)
    alone = rise.square().mul_(_GOES_ON).sub_(goes_on)
    ramp = torch.minimum(rise.abs_().sub_(inverse, alpha=4 * threshold), alone)
    return _grown(ramp, axis)


def _grown(plane: Tensor, axis: int) -> Tensor:
    """Return the largest of each pixel and its two neighbours; on a CPU faster than pooling."""
    n = plane.shape[axis] - 1
    grown = plane.clone()
    first, last = grown.narrow(axis, 0, n), grown.narrow(axis, 1, n)
    torch.maximum(first, plane.narrow(axis, 1, n), out=first)
    torch.maximum(last, plane.narrow(axis, 0, n), out=last)
    return grown


def pack_cloud(
    depth_m: Tensor,
    rays: Tensor,
    image: Tensor,
    stddev_m: Tensor | None,
    config: CloudConfig,
    network_px: float = 1.0,
) -> PackedCloud:
    """Unproject depth to a coloured cloud.

    Args:
        depth_m: HxW float32 depth along the optical axis in metres, NaN invalid.
        rays: HxWx3 float32 viewing rays with unit z.
        image: HxWx3 uint8 RGB registered to the depth.
        stddev_m: HxW float32 in metres, needed when config.stddev asks for it.
        config: stride, organisation, edge threshold, optional field.
        network_px: image pixels per pixel of the network: edges are as soft.

    Returns:
        The cloud: image order with NaN points, or one row of valid points.
    """
    flying = flying_pixels(depth_m, config.edge_threshold, network_px)
    masked = depth_m.masked_fill(flying, torch.nan)
    step = config.stride
    z, colour, slopes = (plane[::step, ::step] for plane in (masked, image, rays))
    extra = stddev_m if config.stddev else None
    points = torch.empty(*z.shape, 4 if extra is None else 5, device=z.device)
    points[..., 0] = slopes[..., 0] * z
    points[..., 1] = slopes[..., 1] * z
    points[..., 2] = z
    rgb = points[..., 3:4].view(torch.uint8)  # rows x columns x 4, little endian: b, g, r, 0
    for i in range(3):
        rgb[..., 2 - i] = colour[..., i]
    rgb[..., 3] = 0
    if extra is not None:
        points[..., 4] = extra[::step, ::step]
    if config.organized:
        return PackedCloud(points, is_dense=False)
    return PackedCloud(points[z.isfinite()][None], is_dense=True)


def ray_tensor(camera: Camera, device: torch.device) -> Tensor:
    """Return the camera's viewing rays with unit z as a HxWx3 float32 tensor on the device."""
    return torch.from_numpy(camera.rays()).float().to(device)
