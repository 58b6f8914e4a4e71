# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Interpolation of scattered values over the image by an elastic membrane on a coarse grid.

Between two scan lines a membrane is straight, beyond the last one it is level, and it never
overshoots the data: what a sparse lidar wants. Fixed shapes, fixed iterations, any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
import math

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

_LEVELS = 5
_COARSEST = 4  # rows or columns of the coarsest level at least
_SWEEPS = 5
_SPECTRAL_RADIUS = 0.96  # of the Jacobi iteration on what the coarser level leaves over


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

    def cells(self, u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the cells that hold N pixels, as indices into the flattened grid."""
        row = ((v + 0.5) / self.cell_px).astype(np.int64).clip(0, self.rows - 1)
        column = ((u + 0.5) / self.cell_px).astype(np.int64).clip(0, self.columns - 1)
        cells: NDArray[np.int64] = row * self.columns + column
        return cells

    def splat(self, cells: Tensor, values: Tensor) -> Tensor:
        """Add values to cells.

        Args:
            cells: N, see cells().
            values: CxN.

        Returns:
            CxRowsxColumns sums.
        """
        sums = values.new_zeros(len(values), self.rows * self.columns)
        sums.index_add_(1, cells, values)
        return sums.view(-1, self.rows, self.columns)

    def places(self, u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return Nx2 places of N pixels on the grid, as sample() takes them."""
        x = (u + 0.5) * (2 / (self.columns * self.cell_px)) - 1
        y = (v + 0.5) * (2 / (self.rows * self.cell_px)) - 1
        return np.stack([x, y], axis=-1).astype(np.float32)

    def sample(self, field: Tensor, places: Tensor) -> Tensor:
        """Interpolate a CxRowsxColumns field bilinearly at Nx2 places; returns CxN."""
        values = F.grid_sample(
            field[None], places[None, None], padding_mode='border', align_corners=False
        )
        return values[0, :, 0]

    def centres(self, plane: Tensor) -> Tensor:
        """Return an HxW plane's values at the centres of cells, 1 x rows x columns."""
        rows, columns = _centres(self, *plane.shape, plane.device)
        return plane.index_select(0, rows).index_select(1, columns)[None]

    def upsample(self, field: Tensor, height: int, width: int) -> Iterator[Tensor]:
        """Interpolate a CxRowsxColumns field bilinearly at all pixels; yields C times HxW.

        Planes come one by one, since one is still in the cache when it is used. Rows of whole
        pixels are copied and blended: on a CPU twice as fast as F.interpolate.
        """
        # Cells are square but need not be a whole number of pixels, hence the explicit size.
        size = (self.rows, round(self.columns * self.cell_px))
        wide = F.interpolate(field[None], size, mode='bilinear')[0, ..., :width]
        above, below, share = _taps(self.cell_px, self.rows, height, field.device)
        for plane in wide:
            pixels = plane.index_select(0, above)
            yield torch.lerp(pixels, plane.index_select(0, below), share, out=pixels)


@lru_cache(maxsize=8)
def _centres(grid: Grid, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rows, columns = (
        ((torch.arange(count) + 0.5) * grid.cell_px).long().clamp(max=size - 1).to(device)
        for count, size in ((grid.rows, height), (grid.columns, width))
    )
    return rows, columns


@lru_cache(maxsize=8)
def _taps(
    cell_px: float, cells: int, pixels: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells before and after each pixel along one axis, and the part of the latter."""
    where = ((torch.arange(pixels) + 0.5) / cell_px - 0.5).clamp(0, cells - 1)
    before = where.long().clamp(max=cells - 2)
    share = (where - before)[:, None]
    return before.to(device), (before + 1).to(device), share.to(device)


def solve_membrane(
    weight: Tensor, weighted: Tensor, stiffness: float, screening: Tensor | None = None
) -> Tensor:
    """Minimise sum weight (f - value)^2 + stiffness |grad f|^2 + screening f^2.

    Cascadic multigrid (Bornemann and Deuflhard 1996): the coarsest level starts from the mean,
    every finer one from what the coarser found, and each runs a fixed number of Jacobi sweeps with
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
    channels, rows, columns = weight.shape
    shapes = _shapes(rows, columns)
    # All levels lie behind each other in memory: what is the same for each is done at once.
    flat = weight.new_empty(2, channels, sum(map(math.prod, shapes)))
    sums = _levels(flat, shapes)
    torch.add(weight, 0.0 if screening is None else screening[:, None, None], out=sums[0][0])
    sums[0][1].copy_(weighted)
    for finer, coarser in zip(sums, sums[1:]):
        halved = finer[..., ::2, :] + finer[..., 1::2, :]
        torch.add(halved[..., ::2], halved[..., 1::2], out=coarser)
    weights, values = sums[-1].sum(dim=(-2, -1), keepdim=True)
    field: Tensor = values / weights.clamp(min=1e-9)
    flat[0].add_(_neighbour_counts(rows, columns, weight.device), alpha=stiffness).reciprocal_()
    flat[1].mul_(flat[0])
    flat[0].mul_(stiffness)
    # Borders of zeros stand for the neighbours that are not there.
    framed = [(h + 2, w + 2) for h, w in shapes]
    frames = _levels(weight.new_zeros(2, channels, sum(map(math.prod, framed))), framed)
    for (pull, own), frame in zip(reversed(sums), reversed(frames)):
        if field.shape[-1] > 1:  # the coarsest level starts from one value
            field = F.interpolate(field[None], scale_factor=2, mode='bilinear')[0]
        field = _relax(field, own, pull, frame)
    return field


def smoothed(weight: Tensor, weighted: Tensor, radius_cells: float) -> Tensor:
    """Average values around each cell, the nearer the more; far from all of them, all of them.

    Args:
        weight: CxRowsxColumns weights summed over the cell.
        weighted: CxRowsxColumns weight times value, summed over the cell.
        radius_cells: over so many rows or columns a value's part falls by a factor of e.
    """
    rows, columns = (_decay(n, radius_cells, weight.device) for n in weight.shape[-2:])
    sums = rows @ torch.stack([weight, weighted]) @ columns
    return sums[1] / sums[0].clamp(min=1e-9)


@lru_cache(maxsize=8)
def _decay(count: int, radius: float, device: torch.device) -> Tensor:
    """Return how much each of so many rows or columns counts for each other."""
    apart = torch.arange(count)[:, None] - torch.arange(count)
    return (torch.exp(-apart.abs() / radius) + 1e-4).to(device)


def _shapes(rows: int, columns: int) -> list[tuple[int, int]]:
    """Return the rows and columns of all levels, the finest first."""
    shapes = [(rows >> level, columns >> level) for level in range(_LEVELS)]
    return [shape for shape in shapes if shape == shapes[0] or min(shape) >= _COARSEST]


def _levels(flat: Tensor, shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Return the planes of these shapes that lie behind each other along the last axis."""
    parts: tuple[Tensor, ...] = torch.split(flat, [math.prod(shape) for shape in shapes], dim=-1)
    return [part.view(*part.shape[:-1], *shape) for part, shape in zip(parts, shapes)]


def _relax(start: Tensor, own: Tensor, pull: Tensor, frames: Tensor) -> Tensor:
    """Run the sweeps of one level: each cell moves to the mean of its values and neighbours.

    Args:
        start: where cells start from.
        own: what a cell's values alone make of it.
        pull: share that each neighbour has in it.
        frames: two planes inside borders of zeros, which take turns.
    """
    cells: list[Tensor] = [frame[..., 1:-1, 1:-1] for frame in frames]
    cells[0].copy_(start)
    pair = own.new_empty(2, *own.shape)
    omega = 1.0
    for sweep in range(_SWEEPS):
        neighbours = _neighbours(frames[sweep % 2])
        torch.add(neighbours[0], neighbours[1], out=pair)
        relaxed = torch.add(pair[0], pair[1], out=pair[0])
        torch.addcmul(own, relaxed, pull, out=relaxed)
        if sweep > 0:
            share = 0.5 if sweep == 1 else 0.25 * omega
            omega = 1 / (1 - share * _SPECTRAL_RADIUS**2)
        previous = cells[1 - sweep % 2]
        torch.lerp(previous, relaxed, omega, out=previous)
    return cells[_SWEEPS % 2]


def _neighbours(frame: Tensor) -> Tensor:
    """Return 2x2xCxRowsxColumns: above and right, left and below each cell, without copying.

    In memory these lie at -pitch, +1, -1 and +pitch from a cell: -pitch + i (pitch - 1) + j
    (pitch + 1) for i and j of 0 and 1.
    """
    channels, rows, columns = frame.shape
    pitch = frame.stride(-2)
    size = (2, 2, channels, rows - 2, columns - 2)
    stride = (pitch - 1, pitch + 1, *frame.stride())
    return frame.as_strided(size, stride, frame.storage_offset() + 1)


@lru_cache(maxsize=8)
def _neighbour_counts(rows: int, columns: int, device: torch.device) -> Tensor:
    """Return how many of its four neighbours each cell has, all levels behind each other."""
    counts = []
    for shape in _shapes(rows, columns):
        count = torch.full(shape, 4.0)
        for edge in (count[0], count[-1], count[:, 0], count[:, -1]):
            edge -= 1
        counts.append(count.flatten())
    return torch.cat(counts).to(device)
