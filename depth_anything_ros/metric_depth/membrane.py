# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Interpolation of scattered values over the image by an elastic membrane on a coarse grid.

Between two scan lines a membrane is straight, beyond the last one it is level, and it never
overshoots the data: what a sparse lidar wants. Fixed shapes, fixed iterations, any device.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import torch
from torch import Tensor
import torch.nn.functional as F

_LEVELS = 5
_SWEEPS = 8
_SPECTRAL_RADIUS = 0.98  # of the Jacobi iteration on what the coarser level leaves over


@dataclass(frozen=True)
class Grid:
    """Square cells over an image.

    Attributes:
        cell_px: side of a cell in pixels.
        rows: number of rows, a multiple of 2 ** (levels - 1); the last may lie outside the image.
        columns: number of columns, likewise.
    """

    cell_px: float
    rows: int
    columns: int

    @staticmethod
    def over(height: int, width: int, cells: int) -> Grid:
        """Return a grid of about so many cells over an image of this size in pixels."""
        cell_px = max(1.0, math.sqrt(height * width / cells))
        block = 2**_LEVELS  # divisible on all levels, and so is the next coarser grid
        rows, columns = (block * math.ceil(n / (block * cell_px)) for n in (height, width))
        return Grid(cell_px, rows, columns)

    def coarser(self) -> Grid:
        """Return the grid of twice the cell size over the same area."""
        return Grid(2 * self.cell_px, self.rows // 2, self.columns // 2)

    def splat(self, u: Tensor, v: Tensor, values: Tensor) -> Tensor:
        """Add values at pixels to the cells that hold them.

        Args:
            u: N columns in pixels.
            v: N rows in pixels.
            values: CxN.

        Returns:
            CxRowsxColumns sums.
        """
        row = ((v + 0.5) / self.cell_px).long().clamp(0, self.rows - 1)
        column = ((u + 0.5) / self.cell_px).long().clamp(0, self.columns - 1)
        sums = values.new_zeros(len(values), self.rows * self.columns)
        sums.index_add_(1, row * self.columns + column, values)
        return sums.reshape(-1, self.rows, self.columns)

    def sample(self, field: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Interpolate a CxRowsxColumns field bilinearly at N pixels; returns CxN."""
        x = (u + 0.5) * (2 / (self.columns * self.cell_px)) - 1
        y = (v + 0.5) * (2 / (self.rows * self.cell_px)) - 1
        where = torch.stack([x, y], dim=-1)[None, None]
        values = F.grid_sample(field[None], where, padding_mode='border', align_corners=False)
        return values[0, :, 0]

    def upsample(self, field: Tensor, height: int, width: int) -> Tensor:
        """Interpolate a CxRowsxColumns field bilinearly at all pixels; returns CxHxW."""
        size = (round(self.rows * self.cell_px), round(self.columns * self.cell_px))
        # Cells are square but need not be a whole number of pixels, hence the explicit size.
        full = F.interpolate(field[None], size, mode='bilinear', align_corners=False)
        return full[0, :, :height, :width]


def solve_membrane(
    weight: Tensor, weighted: Tensor, stiffness: float, screening: Tensor | None = None
) -> Tensor:
    """Minimise sum weight (f - value)^2 + stiffness |grad f|^2 + screening f^2.

    Cascadic multigrid (Bornemann and Deuflhard 1996): the coarsest level starts from the mean,
    every finer one from its interpolation, and each runs a fixed number of Jacobi sweeps with
    Chebyshev acceleration. In two dimensions |grad f|^2 summed over cells does not depend on the
    cell size, so one stiffness serves all levels.

    Args:
        weight: CxRowsxColumns weights summed over the cell.
        weighted: CxRowsxColumns weight times value, summed over the cell.
        stiffness: of the membrane.
        screening: C, pull towards zero per cell; none where absent.

    Returns:
        CxRowsxColumns f.
    """
    if screening is not None:
        weight = weight + screening[:, None, None]
    levels = [torch.stack([weight, weighted])]
    for _ in range(_LEVELS - 1):
        levels.append(4 * F.avg_pool2d(levels[-1], 2))
    weight, weighted = levels[-1].sum(dim=(-2, -1), keepdim=True)
    field = (weighted / weight.clamp(min=1e-9)).expand_as(levels[-1][0])
    for weight, weighted in reversed(levels):
        if field.shape != weight.shape:
            field = F.interpolate(field[None], scale_factor=2, mode='bilinear')[0]
        field = _relax(field, weight, weighted, stiffness)
    return field


def _relax(field: Tensor, weight: Tensor, weighted: Tensor, stiffness: float) -> Tensor:
    """Run the sweeps of one level: each cell moves to the mean of its values and neighbours."""
    # Two fields take turns, inside borders of zeros that stand for the neighbours not there.
    framed = [F.pad(field, (1, 1, 1, 1)), F.pad(torch.zeros_like(field), (1, 1, 1, 1))]
    cells = [f[:, 1:-1, 1:-1] for f in framed]
    sides = [(f[:, :-2, 1:-1], f[:, 2:, 1:-1], f[:, 1:-1, :-2], f[:, 1:-1, 2:]) for f in framed]
    inverse = 1 / (weight + stiffness * _neighbour_count(field))
    own, pull = weighted * inverse, stiffness * inverse
    omega = 1.0
    for sweep in range(_SWEEPS):
        above, below, left, right = sides[sweep % 2]
        relaxed = above + below
        relaxed += left
        relaxed += right
        torch.addcmul(own, relaxed, pull, out=relaxed)
        if sweep > 0:
            share = 0.5 if sweep == 1 else 0.25 * omega
            omega = 1 / (1 - share * _SPECTRAL_RADIUS**2)
        previous = cells[1 - sweep % 2]
        torch.lerp(previous, relaxed, omega, out=previous)
    return cells[_SWEEPS % 2]


def _neighbour_count(field: Tensor) -> Tensor:
    """Return how many of its four neighbours each cell of a CxRowsxColumns field has."""
    count = field.new_full(field.shape[1:], 4.0)
    for edge in (count[0], count[-1], count[:, 0], count[:, -1]):
        edge -= 1
    return count
