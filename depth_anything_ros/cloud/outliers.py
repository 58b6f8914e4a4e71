# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels of metric depth that have no company, found on the device."""

from __future__ import annotations

import torch
from torch import Tensor
import torch.nn.functional as F

_FEWEST = 2  # a line of pixels keeps its own


def without_outliers(depth_m: Tensor, radius_m: float) -> Tensor:
    """Return depth with NaN where fewer than two of the eight pixels around are within a radius.

    Pixels side by side see points about as far apart as their depths are, unless the surface is
    closer to the line of sight than a pixel is wide.

    Args:
        depth_m: HxW float32, NaN invalid.
        radius_m: difference of depth up to which pixels are company; 0 keeps all.
    """
    if radius_m <= 0:
        return depth_m
    framed = F.pad(depth_m[None, None], (1, 1, 1, 1), value=torch.nan)[0, 0]
    rows, columns = depth_m.shape
    company = torch.zeros_like(depth_m)
    for row in range(3):
        for column in range(3):
            if row != 1 or column != 1:
                beside = framed[row : row + rows, column : column + columns]
                company += (beside - depth_m).abs_() <= radius_m
    return depth_m.masked_fill(company < _FEWEST, torch.nan)
