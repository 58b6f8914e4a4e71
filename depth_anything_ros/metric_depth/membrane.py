# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Interpolation of scattered values over the image by an elastic membrane on a coarse grid.

Between two scan lines a membrane is straight, beyond the last one it is level, and it never
overshoots the data: what a sparse lidar wants. Fixed shapes, fixed iterations, any device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
import math

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

# Jacobi sweeps of each level, the finest first: what is wide costs little where it is coarse.
_SWEEPS = (2, 4, 5, 5, 3)
_COARSEST = 4  # rows or columns of the coarsest level at least
_START_CELLS = 1.0  # radius of the averages that the coarsest level starts from
_SPECTRAL_RADIUS = 0.96  # of the Jacobi iteration on what the coarser level leaves over


@dataclass(frozen=True)
class Grid:
    """Square cells over an image.

    Attributes:
        cell_px: side of a cell in pixels.
        rows: number of rows, a multiple of 2 ** levels; the last may lie outside the image.
        columns: number of columns, likewise.
    """

    cell_px: float
    rows: int
    columns: int

    @staticmethod
    def over(height: int, width: int, cells: int) -> Grid:
        """Return a grid of about so many cells over an image of this size in pixels."""
        cell_px = max(1.0, math.sqrt(height * width / cells))
        block = 2 ** len(_SWEEPS)  # divisible on all levels, and so is the next coarser grid
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

    def splat(self, cells: Tensor, values: Tensor, groups: int = 1) -> Tensor:
        """Add values to cells.

        Args:
            cells: N, see cells(); those of group g come after g whole grids.
            values: CxN.
            groups: how many grids there are.

        Returns:
            C x groups x rows x columns sums.
        """
        sums = values.new_zeros(len(values), groups * self.rows * self.columns)
        sums.index_add_(1, cells, values)
        return sums.view(-1, groups, self.rows, self.columns)

    def places(
        self,
        u: NDArray[np.float32],
        v: NDArray[np.float32],
        group: NDArray[np.int64] | int = 0,
        groups: int = 1,
    ) -> NDArray[np.float32]:
        """Return Nx2 places of N pixels on the grid of a group, as sample() takes them."""
        x = (u + 0.5) * (2 / (self.columns * self.cell_px)) - 1
        # Beyond the outermost centres lies the border, not the next group.
        row = np.clip((v + 0.5) / self.cell_px, 0.5, self.rows - 0.5)
        y = (row + group * self.rows) * (2 / (groups * self.rows)) - 1
        return np.stack([x, y], axis=-1).astype(np.float32)

    def sample(self, field: Tensor, places: Tensor) -> Tensor:
        """Interpolate a C x groups x rows x columns field bilinearly at Nx2 places; returns CxN."""
        values = F.grid_sample(
            field.flatten(1, 2)[None],
            places[None, None],
            padding_mode='border',
            align_corners=False,
        )
        return values[0, :, 0]

    def centres(self, plane: Tensor) -> Tensor:
        """Return an HxW plane's values at the centres of cells, rows x columns."""
        rows, columns = _centres(self, *plane.shape, plane.device)
        return plane.index_select(0, rows).index_select(1, columns)


@lru_cache(maxsize=8)
def _centres(grid: Grid, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rows, columns = (
        ((torch.arange(count) + 0.5) * grid.cell_px).long().clamp(max=size - 1).to(device)
        for count, size in ((grid.rows, height), (grid.columns, width))
    )
    return rows, columns


def solve_membrane(
    sums: Tensor, stiffness: float, start: Tensor | None = None, sweeps: Sequence[int] = _SWEEPS
) -> Tensor:
    """Minimise sum weight (f - value)^2 + stiffness |grad f|^2, for D values in each of G groups.

    Cascadic multigrid (Bornemann and Deuflhard 1996): the coarsest level starts from averages,
    every finer one from what the coarser found, and each runs a fixed number of Jacobi sweeps with
    Chebyshev acceleration. In two dimensions |grad f|^2 summed over cells does not depend on the
    cell size, so one stiffness serves all levels.

    Args:
        sums: (1 + D) x G x rows x columns, summed over the cell: weights, and D times weight times
            value.
        stiffness: of the membrane.
        start: what the coarsest level starts from, D x G x rows x columns of that level.
        sweeps: of each level, the finest first.

    Returns:
        D x G x rows x columns f.
    """
    rows, columns = sums.shape[-2:]
    shapes = _shapes(rows, columns, len(sweeps))
    pyramid = [sums]
    for _ in shapes[1:]:
        pairs = pyramid[-1][..., ::2, :] + pyramid[-1][..., 1::2, :]
        pyramid.append(pairs[..., ::2] + pairs[..., 1::2])
    # All levels lie behind each other in memory: what is the same for each is done at once.
    flat = torch.cat([level.flatten(2) for level in pyramid], dim=-1)
    levels = _levels(flat, shapes)
    field = smoothed(levels[-1], _START_CELLS) if start is None else start
    pull, own = flat[0], flat[1:]
    pull.add_(_neighbour_counts(rows, columns, len(sweeps), sums.device), alpha=stiffness)
    own.mul_(pull.reciprocal_())
    pull.mul_(stiffness)
    # Borders of zeros stand for the neighbours that are not there.
    framed = [(h + 2, w + 2) for h, w in shapes]
    frames = _levels(flat.new_zeros(2, *own.shape[:2], sum(map(math.prod, framed))), framed)
    for level, frame, count in reversed(list(zip(levels, frames, sweeps))):
        if field.shape[-1] < level.shape[-1]:
            field = F.interpolate(field, scale_factor=2, mode='bilinear')
        field = _relax(field, level[1:], level[0], frame, count)
    return field


def smoothed(sums: Tensor, radius_cells: float) -> Tensor:
    """Average values around each cell, the nearer the more; far from all of them, all of them.

    Args:
        sums: (1 + D) x G x rows x columns, as solve_membrane() takes them.
        radius_cells: over so many rows or columns a value's part falls by a factor of e.

    Returns:
        D x G x rows x columns.
    """
    rows, columns = (_decay(n, radius_cells, sums.device) for n in sums.shape[-2:])
    around = rows @ sums @ columns
    return around[1:] / around[:1].clamp_(min=1e-9)


@lru_cache(maxsize=8)
def _decay(count: int, radius: float, device: torch.device) -> Tensor:
    """Return how much each of so many rows or columns counts for each other."""
    apart = torch.arange(count)[:, None] - torch.arange(count)
    return (torch.exp(-apart.abs() / radius) + 1e-4).to(device)


def _shapes(rows: int, columns: int, levels: int) -> list[tuple[int, int]]:
    """Return the rows and columns of all levels, the finest first."""
    shapes = [(rows >> level, columns >> level) for level in range(levels)]
    return [shape for shape in shapes if shape == shapes[0] or min(shape) >= _COARSEST]


def _levels(flat: Tensor, shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Return the planes of these shapes that lie behind each other along the last axis."""
    parts: tuple[Tensor, ...] = torch.split(flat, [math.prod(shape) for shape in shapes], dim=-1)
    return [part.view(*part.shape[:-1], *shape) for part, shape in zip(parts, shapes)]


def _relax(start: Tensor, own: Tensor, pull: Tensor, frames: Tensor, sweeps: int) -> Tensor:
    """Run the sweeps of one level: each cell moves to the mean of its values and neighbours.

    Args:
        start: where cells start from.
        own: what a cell's values alone make of it.
        pull: share that each neighbour has in it.
        frames: two planes inside borders of zeros, which take turns.
        sweeps: how many, at least two.
    """
    cells: list[Tensor] = [frame[..., 1:-1, 1:-1] for frame in frames]
    cells[0].copy_(start)
    pair = own.new_empty(2, *own.shape)
    omega = 1.0
    for sweep in range(sweeps):
        neighbours = _neighbours(frames[sweep % 2])
        torch.add(neighbours[0], neighbours[1], out=pair)
        relaxed = torch.add(pair[0], pair[1], out=pair[0])
        following = cells[1 - sweep % 2]
        if sweep == 0:
            torch.addcmul(own, relaxed, pull, out=following)
            continue
        torch.addcmul(own, relaxed, pull, out=relaxed)
        share = 0.5 if sweep == 1 else 0.25 * omega
        omega = 1 / (1 - share * _SPECTRAL_RADIUS**2)
        last = sweep == sweeps - 1
        torch.lerp(following, relaxed, omega, out=relaxed if last else following)
    return pair[0]


def _neighbours(frame: Tensor) -> Tensor:
    """Return 2x2xDxGxRowsxColumns: above and right, left and below each cell, without copying.

    In memory these lie at -pitch, +1, -1 and +pitch from a cell: -pitch + i (pitch - 1) + j
    (pitch + 1) for i and j of 0 and 1.
    """
    *planes, rows, columns = frame.shape
    pitch = frame.stride(-2)
    size = (2, 2, *planes, rows - 2, columns - 2)
    stride = (pitch - 1, pitch + 1, *frame.stride())
    return frame.as_strided(size, stride, frame.storage_offset() + 1)


@lru_cache(maxsize=8)
def _neighbour_counts(rows: int, columns: int, levels: int, device: torch.device) -> Tensor:
    """Return how many of its four neighbours each cell has, all levels behind each other."""
    counts = []
    for shape in _shapes(rows, columns, levels):
        count = torch.full(shape, 4.0)
        for edge in (count[0], count[-1], count[:, 0], count[:, -1]):
            edge -= 1
        counts.append(count.flatten())
    return torch.cat(counts).to(device)
