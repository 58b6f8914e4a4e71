# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What networks might say, from poor to perfect: relative inverse depth without any network."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.camera import Camera
from depth_anything_ros.evaluation.frames import Frame
from depth_anything_ros.network.spec import ModelSpec

STAND_IN = ModelSpec('stand-in', 'inverse_depth', metric=False)
_SCALE, _SHIFT = 2.5, 0.1  # of what is said; any line would do


@dataclass(frozen=True, eq=False)
class Predicted:
    """One frame with a prediction, be it a network's or one of those below.

    Attributes:
        data: 'world', 'kitti' or 'nuscenes'.
        frame: image, camera, points.
        prediction: HxW in spec.space.
        spec: what the prediction is.
    """

    data: str
    frame: Frame
    prediction: Tensor
    spec: ModelSpec


def exact(depth_m: NDArray[np.float32]) -> Tensor:
    """Return a line of inverse depth, as a perfect relative network does; sky is the smallest."""
    return torch.from_numpy(_SCALE / depth_m + _SHIFT).float()


def distorted(depth_m: NDArray[np.float32], seed: int) -> Tensor:
    """Return what a mediocre network might say of a true depth."""
    height, width = depth_m.shape
    generator = torch.Generator().manual_seed(seed)
    bias = 0.12 * torch.randn(1, 1, 5, 7, generator=generator)
    field = F.interpolate(bias, (height, width), mode='bicubic')[0, 0].numpy()
    inverse = (1 / depth_m) ** 0.9 * np.exp(field)  # sky: 1 / inf = 0
    return torch.from_numpy(cv2.GaussianBlur(inverse.astype(np.float32), (0, 0), height / 160))


def row_prior(camera: Camera) -> Tensor:
    """Return inverse depth of flat ground up to scale and shift, and a constant above it."""
    height, width = camera.size
    row = torch.arange(height, dtype=torch.float32)[:, None].expand(height, width)
    return (row - float(camera.K[1, 2])).clamp(min=0) / height + 0.05


def renormalised(prediction: Tensor) -> Tensor:
    """Stretch a prediction to between 0 and 1, as many do with each image."""
    low, high = prediction.aminmax()
    return (prediction - low) / (high - low)
