# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What others do with a relative prediction and sparse depth: the rows refinement has to beat.

Each baseline takes the predictions and depths at the anchors and at the query pixels and returns
depth in metres at the queries. The prediction is relative inverse depth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from depth_anything_ros.metric_depth.anchors import Anchors

_MAX_DEPTH_M = 200.0
_NEIGHBOURS = 4
_AFFINE_NEIGHBOURS = 32

Nearest = tuple[Tensor, Tensor]  # distances in pixels and indices of anchors, queries x 32
Baseline = Callable[[Tensor, Anchors, Nearest, Tensor], Tensor]


def global_ls(p: Tensor, anchors: Anchors, near: Nearest, query_p: Tensor) -> Tensor:
    """Fit 1/z = s p + t by plain least squares."""
    return _depth(query_p, _least_squares(p, 1 / _depths(anchors), torch.ones_like(p)))


def ransac(p: Tensor, anchors: Anchors, near: Nearest, query_p: Tensor) -> Tensor:
    """Find the two-point line with most anchors within 10 %, then least squares on those."""
    y = 1 / _depths(anchors)
    generator = torch.Generator().manual_seed(0)
    i, j = torch.randint(len(p), (2, 256), generator=generator)
    scale = (y[i] - y[j]) / torch.where((p[i] - p[j]).abs() > 1e-9, p[i] - p[j], torch.inf)
    lines = torch.stack([scale, y[i] - scale * p[i]], dim=1)
    agree = (lines[:, :1] * p + lines[:, 1:]).sub(y).abs() < 0.1 * y
    agree &= lines[:, :1] > 0
    best = agree[int(agree.sum(dim=1).argmax())]
    return _depth(query_p, _least_squares(p, y, best.to(p)))


def irls(p: Tensor, anchors: Anchors, near: Nearest, query_p: Tensor) -> Tensor:
    """Fit by least squares reweighted with Huber's function of the relative residual."""
    z = _depths(anchors)
    y = 1 / z
    weight = z.square()
    line = _least_squares(p, y, weight)
    for _ in range(20):
        residual = z * (line[0] * p + line[1]) - 1
        sigma = 1.4826 * residual.abs().median().clamp(min=1e-3)
        weight = z.square() / (residual.abs() / (1.345 * sigma)).clamp(min=1.0)
        line = _least_squares(p, y, weight)
    return _depth(query_p, line)


def knn_affine(p: Tensor, anchors: Anchors, near: Nearest, query_p: Tensor) -> Tensor:
    """Fit a line per query to its 32 nearest anchors, held to the global one by a small ridge."""
    y = 1 / _depths(anchors)
    scale, shift = _least_squares(p, y, torch.ones_like(p))
    _, index = near
    local_p, local_e = p[index], y[index] - (scale * p[index] + shift)
    centre = local_p.mean(dim=1, keepdim=True)
    ridge = 0.1 * p.var() * local_p.shape[1]
    slope = ((local_p - centre) * local_e).sum(1) / ((local_p - centre).square().sum(1) + ridge)
    offset = local_e.mean(dim=1) - slope * centre[:, 0]
    return _invert(scale * query_p + shift + slope * query_p + offset)


def lidar_idw(p: Tensor, anchors: Anchors, near: Nearest, query_p: Tensor) -> Tensor:
    """Interpolate log depth of the 4 nearest anchors by inverse squared distance; no network."""
    return _idw(_depths(anchors).log(), near).exp()


def global_idw(p: Tensor, anchors: Anchors, near: Nearest, query_p: Tensor) -> Tensor:
    """Fit by irls, then interpolate the residual of log depth as lidar_idw does."""
    residual = (_depths(anchors) / irls(p, anchors, near, p)).log()
    return irls(p, anchors, near, query_p) * _idw(residual, near).exp()


BASELINES: dict[str, Baseline] = {
    'global_ls': global_ls,
    'ransac': ransac,
    'irls': irls,
    'knn_affine': knn_affine,
    'lidar_idw': lidar_idw,
    'global_idw': global_idw,
}


def _depths(anchors: Anchors) -> Tensor:
    return torch.from_numpy(anchors.z_m)


def _least_squares(p: Tensor, y: Tensor, weight: Tensor) -> tuple[float, float]:
    p, y, weight = p.double(), y.double(), weight.double() / weight.double().sum()
    mean_p, mean_y = (weight * p).sum(), (weight * y).sum()
    variance = (weight * (p - mean_p).square()).sum().clamp(min=1e-18)
    scale = float((weight * (p - mean_p) * (y - mean_y)).sum() / variance)
    return scale, float(mean_y) - scale * float(mean_p)


def _depth(p: Tensor, line: tuple[float, float]) -> Tensor:
    return _invert(line[0] * p + line[1])


def _invert(inverse_depth: Tensor) -> Tensor:
    """Return depth; a baseline that says "behind infinity" is charged the farthest depth."""
    return 1 / inverse_depth.clamp(min=1 / _MAX_DEPTH_M)


def nearest(anchors: Anchors, query_uv: Tensor) -> Nearest:
    """Find the 32 nearest anchors (all, if fewer) of each query pixel, nearest first."""
    uv = torch.from_numpy(np.stack([anchors.u, anchors.v], axis=1))
    count = min(_AFFINE_NEIGHBOURS, len(anchors))
    exact = 'donot_use_mm_for_euclid_dist'
    parts = [
        torch.cdist(part, uv, compute_mode=exact).topk(count, largest=False)
        for part in query_uv.split(512)
    ]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def _idw(values: Tensor, near: Nearest) -> Tensor:
    distance, index = near[0][:, :_NEIGHBOURS], near[1][:, :_NEIGHBOURS]
    weight = 1 / distance.square().clamp(min=1e-6)
    return (weight * values[index]).sum(dim=1) / weight.sum(dim=1)
