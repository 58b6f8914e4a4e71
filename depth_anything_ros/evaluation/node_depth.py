# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node would publish of one image, the known pixels as the points of a sensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors, MOST_ANCHORS, thinned
from depth_anything_ros.metric_depth.refinement import metric_depth
from depth_anything_ros.metric_depth.scale import ScaleEstimator, ScaleFit, State
from depth_anything_ros.network.spec import ModelSpec


def node_depth(
    prediction: NDArray[np.floating[Any]],
    depth_m: NDArray[np.floating[Any]],
    known: NDArray[np.bool_],
    space: str,
) -> tuple[NDArray[np.float64], ScaleFit]:
    """Fit and refine as the node does, an image without a past, all at its defaults.

    Args:
        prediction: HxW, finite.
        depth_m: HxW metres.
        known: HxW bool, the pixels whose depth the node is told.
        space: what the prediction is, 'inverse_depth' or 'depth'.

    Returns:
        HxW metres, NaN where nothing would be published; and the fit, UNANCHORED where none would.
    """
    v, u = np.nonzero(known)
    z_m = depth_m[known].astype(np.float32)
    ring = np.full(len(z_m), -1)
    anchors = Anchors(u.astype(np.float32), v.astype(np.float32), z_m, ring)
    anchors = thinned(anchors, MOST_ANCHORS)
    values = torch.from_numpy(np.ascontiguousarray(prediction, dtype=np.float32))
    height, width = values.shape
    camera = Camera(width, height, np.eye(3))  # any: without a ground plane its lens is not used
    estimator = ScaleEstimator(ScaleConfig(), ModelSpec('scored', space, metric=False))
    fit = estimator.update(values, anchors, camera, 0)
    if fit.state is not State.FITTED:
        return np.full(values.shape, np.nan), fit
    return metric_depth(values, fit, anchors, Config()).depth_m.numpy().astype(np.float64), fit
