# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which anchors are believed before anything is interpolated from them: those with witnesses."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
import torch
from torch import Tensor

from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.scale import sample

_NEIGHBOURS = 12
_ROUNDS = 3
_TOLERANCE = 0.15  # log depth: two anchors closer than this speak of one surface
_NEAR_LINE = 0.4  # log depth: residuals beyond do not tell how rough the network is
_VOICE_OFF_LINE = 0.3  # what the word of an anchor off the line is worth, however many agree
_SUPPORT = (0.2, 0.45)  # share of agreeing neighbours at which belief starts and is full


def agreement(anchors: Anchors, inverse_prior: Tensor) -> Tensor:
    """Weigh each anchor by how many of those next to it agree with it.

    Dust, rain, mirrors and crosstalk put points where nothing is, in no order; a surface is seen by
    neighbours alike. Two anchors agree when their depths do, or when both are off the network by
    the same factor: a thin post that the network sees agrees with the wall behind it that way, and
    the points of a box that the network missed with each other.
    Those who are believed count as witnesses for the others, so a few rounds settle it.

    Args:
        anchors: N known depths.
        inverse_prior: HxW inverse of the globally fitted depth in 1/m; may be negative.

    Returns:
        N float32 weights from 0 to 1.
    """
    count = min(_NEIGHBOURS + 1, len(anchors))
    pixels = torch.stack([anchors.u, anchors.v], dim=1).cpu().numpy()
    _, index = cKDTree(pixels).query(pixels, count)
    near = torch.from_numpy(index[:, 1:].astype(np.int64)).to(inverse_prior.device)
    depth = anchors.z_m.log()
    low, high = 0.5 / float(anchors.z_m.max()), 2 / float(anchors.z_m.min())
    residual = sample(inverse_prior, anchors).clamp(low, high).log() + depth
    # A line through most of the points is a first witness; one that is rough speaks for all.
    off = residual.abs()
    spread = 1.4826 * off[off < _NEAR_LINE].median().nan_to_num(_NEAR_LINE)
    on_line = off < (4 * spread).clamp(min=0.3)
    # At an edge the network's pixels are a mixture: who is off the line alone stands there.
    agree = on_line[:, None] & ((depth[near] - depth[:, None]).abs() < _TOLERANCE)
    agree |= (residual[near] - residual[:, None]).abs() < _TOLERANCE
    voice = torch.where(on_line, 1.0, _VOICE_OFF_LINE)
    low, high = _SUPPORT
    belief = torch.ones_like(voice)
    for _ in range(_ROUNDS):
        witnesses = (voice * belief)[near]
        support = (witnesses * agree).sum(dim=1) / witnesses.sum(dim=1).clamp(min=0.5)
        belief = ((support - low) / (high - low)).clamp(0.0, 1.0)
    return belief
