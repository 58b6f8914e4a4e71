# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels of metric depth that hang in the air between two surfaces, found on the device."""

from __future__ import annotations

import torch
from torch import Tensor
import torch.nn.functional as F

_FRAME = 4  # pixels that an image is continued by, so that each has its neighbours
_LEAST_RADIUS_PX = 2
_SOFT_NETWORK_PX = 8.0  # radius that finds edges as soft as a Gaussian of 5 network pixels
_LEAST_SIDE_PX = 16  # an image of fewer samples is not thinned further
_SAME_SURFACE = 0.05  # relative inverse depth
_GOES_ON = 0.35  # of a rise, over half its length; on a plane it is 0.5


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
    return _flying(depth_m, threshold, network_px) > 0


def _flying(depth_m: Tensor, threshold: float, network_px: float) -> Tensor:
    """Return what is positive at flying pixels; see flying_pixels()."""
    levels = [depth_m.reciprocal().nan_to_num_(0.0)]
    radius = _LEAST_RADIUS_PX
    while radius < _SOFT_NETWORK_PX * network_px and min(levels[-1].shape) >= _LEAST_SIDE_PX:
        levels.append(levels[-1][::2, ::2].contiguous())
        radius *= 2
    framed = [_framed(level) for level in (*levels, levels[-1][::2, ::2])]
    # From here on yes and no are the sign of a number: comparing is dear, and grids of numbers can
    # be refined linearly.
    flying: Tensor | None = None
    for i, level in reversed(list(enumerate(levels))):
        # What is wider is rarer an edge, so more is asked of it.
        ramps = _ramps(framed[i + 1], threshold * 2 ** (i / 2))
        coarser, flying = flying, _on_ramps(level, framed[i], ramps)
        if coarser is not None:
            _refined_onto(flying, coarser)
    assert flying is not None
    return flying


def _refined_onto(flying: Tensor, coarser: Tensor) -> None:
    """Raise a grid to one of every second of its samples, interpolated between these."""
    rows, columns = coarser.shape
    lines = flying.new_empty(2 * rows - 1, columns)
    lines[::2] = coarser
    torch.lerp(coarser[:-1], coarser[1:], 0.5, out=lines[1::2])
    at_samples, between = flying[: len(lines), ::2], flying[: len(lines), 1::2][:, : columns - 1]
    torch.maximum(at_samples, lines, out=at_samples)
    torch.maximum(between, torch.lerp(lines[:, :-1], lines[:, 1:], 0.5), out=between)


def _on_ramps(inverse: Tensor, framed: Tensor, ramps: Tensor) -> Tensor:
    """Return a grid that is positive on ramps with a radius of two of its pixels.

    Args:
        inverse: HxW.
        framed: the same, see _framed().
        ramps: of every second of its samples, see _ramps().
    """
    rows, columns = inverse.shape
    wide = ramps.new_empty(*ramps.shape[:2], 2 * ramps.shape[2])
    wide[..., ::2] = ramps
    wide[..., 1::2] = ramps
    found = _between(inverse, framed)
    for first in (0, 1):  # each row of ramps is of two rows here
        part = found[:, first::2]
        torch.minimum(part, wide[:, : part.shape[1], :columns], out=part)
    return torch.maximum(found[0], found[1])


def _framed(inverse: Tensor) -> Tensor:
    """Return a grid twice, along columns and along rows, continued by _FRAME pixels: 2xHxW."""
    once = F.pad(inverse[None, None], (_FRAME,) * 4, mode='replicate')[0]
    return once.expand(2, -1, -1).contiguous()


def _between(inverse: Tensor, framed: Tensor) -> Tensor:
    """Return by how much a pixel lies between those two before and two after it, 2xHxW."""
    before, after = _shifted(framed, -2, _FRAME), _shifted(framed, 2, _FRAME)
    above = torch.maximum(before, after).sub_(inverse)
    below = torch.minimum(before, after)
    torch.sub(inverse, below, out=below)
    return torch.minimum(above, below, out=below).sub_(inverse, alpha=_SAME_SURFACE)


def _ramps(framed: Tensor, threshold: float) -> Tensor:
    """Return what is positive next to a rise, one pixel to either side, that goes on nowhere.

    Args:
        framed: a grid, see _framed().
        threshold: of a rise.

    Returns:
        2xHxW: along columns and along rows, which are gone through together.
    """
    steps = _shifted(framed, 1, 1) - _shifted(framed, 0, 1)
    before_that, before, after, after_that = (_shifted(steps, i, 2) for i in (-2, -1, 0, 1))
    rise = torch.lerp(before, after, 0.5)  # over half its length, as in _between()
    enough = rise * (2 * _GOES_ON)
    alone = (enough - before_that).mul_(rise)
    torch.minimum(alone, enough.sub_(after_that).mul_(rise), out=alone)
    here = _shifted(framed, 0, _FRAME - 1)
    ramp = torch.minimum(rise.abs_().sub_(here, alpha=2 * threshold), alone, out=alone)
    grown = torch.maximum(_shifted(ramp, -1, 1), _shifted(ramp, 1, 1))
    return torch.maximum(grown, _shifted(ramp, 0, 1), out=grown)


def _shifted(planes: Tensor, steps: int, margin: int) -> Tensor:
    """Look so many pixels further down in the first plane and right in the second, uncopied.

    Args:
        planes: 2xHxW contiguous.
        steps: may be negative.
        margin: pixels that are left out along all sides, at least as many as steps.

    Returns:
        2x(H - 2 margin)x(W - 2 margin) view.
    """
    _, rows, columns = planes.shape
    size = (2, rows - 2 * margin, columns - 2 * margin)
    stride = (rows * columns + steps * (1 - columns), columns, 1)
    return planes.as_strided(size, stride, margin * (columns + 1) + steps * columns)


def without_flying(depth_m: Tensor, threshold: float, network_px: float = 1.0) -> Tensor:
    """Return depth with NaN at flying pixels; see flying_pixels() for the arguments."""
    if threshold <= 0:
        return depth_m
    flying = _flying(depth_m, threshold, network_px)
    solid = torch.le(flying, 0, out=flying)
    return solid.div_(solid).mul_(depth_m)  # 0 / 0 is NaN, and a mask takes longer
