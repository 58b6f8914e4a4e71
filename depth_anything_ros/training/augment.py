# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random crops of a picture, and the normalisation of the network's input."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.training.sample import Sample

MEAN = (0.485, 0.456, 0.406)  # ImageNet, as the network's input is normalised
STD = (0.229, 0.224, 0.225)


def to_network(image: Tensor) -> Tensor:
    """Normalise Bx3xHxW RGB of 0 to 1 with the ImageNet mean and deviation."""
    return (image - image.new_tensor(MEAN)[:, None, None]) / image.new_tensor(STD)[:, None, None]


def random_crop(sample: Sample, size: tuple[int, int], generator: torch.Generator,
                centre: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Cut a random window of the wanted shape from a picture, tilt it, mirror half of them.

    A crop is seen as by the lens of the whole picture at its size's shorter side, which is how the
    network is given pictures in use; where a window shows it larger, all looks that much nearer,
    and depth is divided by so much. A library's crop (kornia's) carries a mask along, but neither
    metres that depend on the zoom nor the single pixels of a lidar.

    Args:
        sample: the picture at its own size.
        size: height and width of the result in pixels.
        generator: on the CPU.
        centre: take the largest window, in the middle, as it stands.

    Returns:
        3xHxW uint8 image, averaged over what falls into a pixel; HxW float32 inverse depth in 1/m
        and HxW int64 classes of the pixel that lies nearest, as edges must stay sharp; of a sparse
        sample each known pixel comes where it lies in the crop.
    """
    height, width = sample.inverse_depth.shape
    aspect = size[1] / size[0]
    zoom, flip, angle, x, y = torch.rand(5, generator=generator).tolist()
    zoom = 1.0 if centre else 1.0 - 0.45 * zoom**2
    flip = -1.0 if flip < 0.5 and not centre else 1.0
    angle = 0.0 if centre else (2 * angle - 1) ** 3 * math.radians(8)
    share_x = min(1.0, aspect * height / width) * zoom  # of the source's width
    share_y = share_x * width / aspect / height
    x, y = (0.0, 0.0) if centre else (2 * x - 1, 2 * y - 1)
    cos, sin = math.cos(angle), math.sin(angle)
    theta = torch.tensor([[
        [share_x * flip * cos, -share_y * sin * height / width, (1 - share_x) * x],
        [share_x * flip * sin * width / height, share_y * cos, (1 - share_y) * y]]])
    grid = F.affine_grid(theta, [1, 1, *size], align_corners=False)
    source_px = share_x * width / size[1]  # in a pixel of the crop
    image = torch.from_numpy(_shrunk(sample.image_rgb, source_px)).permute(2, 0, 1)[None].float()
    image = F.grid_sample(image, grid, padding_mode='reflection', align_corners=False)[0]
    targets = torch.from_numpy(np.stack([sample.inverse_depth, sample.semantic]).astype(np.float32))
    targets = F.grid_sample(targets[None], grid, mode='nearest', padding_mode='reflection',
                            align_corners=False)[0]
    if sample.sparse:
        targets[0] = _scattered(sample.inverse_depth, theta[0].double().numpy(), size)
    nearer = source_px * min(size) / min(height, width)
    return image.round().byte(), targets[0] / nearer, targets[1].round().long()


def _scattered(inverse_depth: NDArray[np.floating[Any]], theta: NDArray[np.float64],
               size: tuple[int, int]) -> Tensor:
    """Bring single pixels to where they lie in a crop; of several in one place the nearest."""
    height, width = inverse_depth.shape
    row, column = np.nonzero(np.isfinite(inverse_depth))
    place = np.stack([(2 * column + 1) / width, (2 * row + 1) / height]) - 1  # as theta has it
    x, y = (np.linalg.solve(theta[:, :2], place - theta[:, 2:]) + 1) / 2
    u, v = (np.floor(part * side).astype(int) for part, side in ((x, size[1]), (y, size[0])))
    seen = (u >= 0) & (u < size[1]) & (v >= 0) & (v < size[0])
    found = np.full(size, -1, np.float32)
    np.maximum.at(found, (v[seen], u[seen]), inverse_depth[row, column][seen].astype(np.float32))
    return torch.from_numpy(np.where(found >= 0, found, np.float32(np.nan)))


def _shrunk(image_rgb: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Make a picture smaller, if factor is above 1, so that sampling it skips no pixel."""
    if factor <= 1:
        return np.ascontiguousarray(image_rgb)
    height, width = image_rgb.shape[:2]
    smaller = max(1, round(width / factor)), max(1, round(height / factor))
    return np.asarray(cv2.resize(image_rgb, smaller, interpolation=cv2.INTER_AREA), np.uint8)
