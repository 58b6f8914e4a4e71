# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Resampling along one axis as a matrix: what is computed is the same wherever it is multiplied."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CUBIC = -0.75  # slope of the cubic convolution at distance 1, as in PyTorch and OpenCV


def bicubic_matrix(size: Any, length: int, device: torch.device, excess: Any = 0.0) -> Tensor:
    """Return the weights of cubic convolution between pixel centres (Keys, 1981).

    Args:
        size: how many samples come out; a number, or a tensor while a graph is traced.
        length: how many go in; beyond the border the outermost one stands.
        device: where the matrix is made.
        excess: the factor of enlargement is (size + excess) / length.

    Returns:
        size x length float32.
    """
    at = (torch.arange(size, device=device) + 0.5) * (length / (size + excess)) - 0.5
    taps = at.floor()[:, None] + torch.arange(-1, 3, device=device)
    distance = (at[:, None] - taps).abs()
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance * distance + 1
    far = _CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    weight = torch.where(distance <= 1, near, far)
    reached = taps.clamp(0, length - 1)[..., None] == torch.arange(length, device=device)
    matrix: Tensor = (weight[..., None] * reached).sum(dim=1)
    return matrix


def area_matrix(size: int, length: int, device: torch.device) -> Tensor:
    """Return the weights of averaging over the area that each sample covers (INTER_AREA).

    Args:
        size: how many samples come out, at most length.
        length: how many go in.
        device: where the matrix is made.

    Returns:
        size x length float32.
    """
    edges = torch.arange(size + 1, device=device) * (length / size)
    pixels = torch.arange(length, device=device)
    end = torch.minimum(edges[1:, None], pixels + 1)
    overlap: Tensor = (end - torch.maximum(edges[:-1, None], pixels)).clamp(min=0)
    return overlap * (size / length)
