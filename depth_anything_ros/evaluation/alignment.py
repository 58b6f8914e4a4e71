# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A prediction made metres by the pixels whose depth is known, in the papers' way or the node's."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.config import DepthConfig
from depth_anything_ros.evaluation import metrics
from depth_anything_ros.evaluation.protocols import Protocol
from depth_anything_ros.metric_depth.anchors import MOST_ANCHORS
from depth_anything_ros.metric_depth.fitting import fit_line

Array = NDArray[np.float64]

_NODE = DepthConfig()


class Aligned(NamedTuple):
    """One image in metres.

    Attributes:
        scored: HxW bool, the pixels to score, see Protocol.divided.
        depth_m: HxW float64, NaN where the node would publish none.
        scale: of the line 1/z = scale * p + shift (of 'depth', z = scale * p + shift), NaN where
            there is none.
        shift: likewise.
        failure: why the node's fit gives no metres, empty where it does.
    """

    scored: NDArray[np.bool_]
    depth_m: Array
    scale: float
    shift: float
    failure: str


def align_image(
    prediction: NDArray[np.floating[Any]],
    depth_m: NDArray[np.floating[Any]],
    protocol: Protocol,
    space: str,
    align: str,
) -> Aligned:
    """Turn a prediction into metres.

    Args:
        prediction: HxW, finite where it counts; for 'node' everywhere.
        depth_m: HxW true depth in metres, NaN invalid.
        protocol: gives the pixels to fit, and the range.
        space: what the prediction is, 'inverse_depth' or 'depth'.
        align: key of ALIGNMENTS. 'affine' is fitted in that space to all pixels that count; 'node'
            and 'line' to those of Protocol.divided, by the node's own robust fit of one image,
            and there is no depth beyond depth.min and depth.max, as it publishes none. For others
            the prediction is set to the end of the protocol's range, as the KITTI and NYU
            evaluators do, and an inverse depth that is not positive becomes max_depth_m.
    """
    fitted, scored = protocol.divided(depth_m, align)
    if align == 'node':
        from depth_anything_ros.evaluation.node_depth import node_depth  # it needs PyTorch
        node_m, fit = node_depth(prediction, depth_m, fitted, space)
        failure = fit.reason if math.isnan(fit.scale) else ''
        return Aligned(scored, node_m, fit.scale, fit.shift, failure)
    p, z = prediction.astype(np.float64), depth_m[fitted].astype(np.float64)
    scale, shift, failure = _line(p[fitted], z, space, align)
    line = scale * p + shift
    low, high = protocol.min_depth_m, protocol.max_depth_m
    if align == 'line':
        with np.errstate(divide='ignore'):
            line_m = line if space == 'depth' else 1 / line
        line_m[~((line_m >= _NODE.min) & (line_m <= _NODE.max))] = np.nan
    elif space == 'depth':
        line_m = np.clip(line, low, high)
    else:
        line_m = 1 / np.clip(line, 1 / high, 1 / low)
    return Aligned(scored, line_m, scale, shift, failure)


def _line(p: Array, z: Array, space: str, align: str) -> tuple[float, float, str]:
    """Return scale and shift, and why the node would refuse them."""
    if align == 'none':
        return 1.0, 0.0, ''
    if align == 'affine':
        fit = metrics.align_affine if space == 'depth' else metrics.align_inverse_depth
        return *fit(p, z), ''
    some = slice(None, None, max(math.ceil(len(p) / MOST_ANCHORS), 1))
    line = fit_line(p[some], z[some] if space == 'depth' else 1 / z[some])
    return (math.nan, math.nan, line.failure) if line.failure else (line.scale, line.shift, '')
