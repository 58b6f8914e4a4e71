# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random crops, mirrors and colours of a batch, on the batch's device."""

from __future__ import annotations

import math

import torch
from torch import Tensor
import torch.nn.functional as F

MEAN = (0.485, 0.456, 0.406)  # ImageNet, as the network's input is normalised
STD = (0.229, 0.224, 0.225)


def to_network(image: Tensor) -> Tensor:
    """Normalise Bx3xHxW RGB of 0 to 1 with the ImageNet mean and deviation."""
    return (image - image.new_tensor(MEAN)[:, None, None]) / image.new_tensor(STD)[:, None, None]


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def random_crop(image: Tensor, inverse_depth: Tensor, semantic: Tensor, size: tuple[int, int],
                generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Cut a random window of the wanted shape from each picture, mirror half of them.

    A window of a share of the width is seen as by a lens that much longer, through which all looks
    that much nearer: depth is scaled by the share, so that it stays depth for the one lens of the
    widest window.

    Args:
        image: Bx3xHxW float32.
        inverse_depth: BxHxW float32; sampled at the nearest pixel, as edges must stay sharp.
        semantic: BxHxW, sampled likewise.
        size: height and width of the result in pixels.
        generator: on the CPU.

    Returns:
        The three at the wanted size.
    """
    batch, _, height, width = image.shape
    aspect = size[1] / size[0]
    widest = min(1.0, aspect * height / width)  # share of the source's width
    zoom = 1.0 - 0.45 * torch.rand(batch, generator=generator) ** 2
    share_x = widest * zoom
    share_y = share_x * width / aspect / height
    flip = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    angle = _uniform(batch, -1, 1, generator) ** 3 * math.radians(8)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0] = share_x * flip * torch.cos(angle)
    theta[:, 0, 1] = -share_y * torch.sin(angle) * height / width
    theta[:, 1, 0] = share_x * flip * torch.sin(angle) * width / height
    theta[:, 1, 1] = share_y * torch.cos(angle)
    theta[:, 0, 2] = (1 - share_x) * _uniform(batch, -1, 1, generator)
    theta[:, 1, 2] = (1 - share_y) * _uniform(batch, -1, 1, generator)
    grid = F.affine_grid(theta.to(image.device), [batch, 1, *size], align_corners=False)
    image = F.grid_sample(image, grid, padding_mode='reflection', align_corners=False)
    targets = torch.stack([inverse_depth, semantic.to(inverse_depth.dtype)], dim=1)
    targets = F.grid_sample(targets, grid, mode='nearest', padding_mode='reflection',
                            align_corners=False)
    nearer = zoom.to(image.device)[:, None, None]
    return image, targets[:, 0] / nearer, targets[:, 1].round().long()


def gaussian_blur(image: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur each picture by its own sigma, in full precision also where bfloat16 is computed in.

    Args:
        image: BxCxHxW.
        sigma_px: B, of 2 pixels at most; far below 1 the picture stays as it is.
    """
    batch, channels = image.shape[:2]
    reach = 6  # three times the largest sigma
    steps = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (steps / sigma_px[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    kernel = kernel.to(image)[:, None]  # BC x 1 x taps
    flat = F.pad(image.flatten(0, 1)[None], (reach,) * 4, mode='replicate')
    with torch.autocast(image.device.type, enabled=False):
        flat = F.conv2d(flat, kernel[:, :, None], groups=len(kernel))
        return F.conv2d(flat, kernel[..., None], groups=len(kernel)).view_as(image)


def strong_colours(
    image: Tensor, generator: torch.Generator, strength: float = 1.0
) -> Tensor:
    """Change brightness, contrast, gamma, colours and noise at random, and blur half of them.

    The blur is a Gaussian of 0.1 to 2 pixels, as in the authors' UniMatch; the paper states none.

    Args:
        image: Bx3xHxW float32 RGB, 0 to 1.
        generator: on the CPU.
        strength: 0 leaves pictures as they are.

    Returns:
        Of the same shape, 0 to 1.
    """
    batch, device, clean = image.shape[0], image.device, image

    def draw(low: float, high: float) -> Tensor:
        return _uniform(batch, low, high, generator)[:, None, None, None].to(device)

    image = image.clamp(1e-3, 1) ** torch.exp(draw(-0.6, 0.6))
    image = image * torch.exp(draw(-0.6, 0.5))
    mean = image.mean(dim=(2, 3), keepdim=True)
    image = mean + (image - mean) * torch.exp(draw(-0.5, 0.6))
    grey = image.mean(dim=1, keepdim=True)
    image = grey + (image - grey) * draw(0.0, 1.6)
    tint = torch.randn(batch, 3, 1, 1, generator=generator).to(device)
    image = image * torch.exp(0.12 * tint)
    blurred = torch.rand(batch, generator=generator) < 0.5
    sigma_px = _uniform(batch, 0.1, 2.0, generator)
    image = gaussian_blur(image, torch.where(blurred, sigma_px, 1e-3))
    noise = torch.randn(image.shape, generator=generator).to(device)
    strong = image + noise * draw(0, 1) ** 3 * 0.1
    return (strong if strength == 1 else torch.lerp(clean, strong, strength)).clamp(0, 1)
