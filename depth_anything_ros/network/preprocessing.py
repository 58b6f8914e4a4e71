# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""uint8 RGB image on the host -> normalised network input on the device, in one sampling.

The resize rule is the paper's code (Depth Anything, arXiv 2401.10891): bicubic, aspect kept, the
shorter side becomes the input size, each side is rounded to a multiple of the patch.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.network.spec import ModelSpec


def network_size(
    height: int, width: int, input_size: int, multiple: int, limit: float = math.inf
) -> tuple[int, int]:
    """Return the network's (height, width) for an image, the "lower bound" rule.

    Args:
        height: image height in pixels.
        width: image width in pixels.
        input_size: least length of the shorter side in pixels.
        multiple: patch size; both sides become multiples of it.
        limit: most pixels.

    Returns:
        Both sides scaled by max(input_size / height, input_size / width), rounded to the nearest
        multiple, or up where the nearest would be shorter than input_size.

    Raises:
        BadFrameError: these are more pixels than the limit.
    """
    scale = max(input_size / height, input_size / width)

    def fit(side: int) -> int:
        rounded = round(scale * side / multiple) * multiple
        return rounded if rounded >= input_size else math.ceil(scale * side / multiple) * multiple

    rows, columns = fit(height), fit(width)
    if rows * columns > limit:
        raise BadFrameError(
            'image_too_large',
            f'an image of {width}x{height} makes a network input of {columns}x{rows}, more pixels '
            f'than limits.network_pixels ({limit}): lower model.input_size, cut the image, or '
            'raise that',
        )
    return rows, columns


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """One image on the device, ready for the network.

    Attributes:
        network_input: 1x3xhxw float32, normalised.
        image: HxWx3 uint8 RGB as uploaded (distorted where the camera is).
    """

    network_input: Tensor
    image: Tensor


class Preprocessor:
    """Turns images of one camera into network inputs; all geometry is computed once.

    Attributes:
        camera: the camera of the incoming image.
        rectified: the pinhole camera of everything that comes out.
        network_camera: the pinhole camera of the network input.
        network_px: image pixels that a pixel of the network spans, along the coarser axis.
        border: HxW bool on the device, true where a rectified pixel shows nothing; None when the
            image needs no rectification.
    """

    def __init__(
        self,
        camera: Camera,
        spec: ModelSpec,
        input_size: int,
        device: torch.device,
        limit: float = math.inf,
    ) -> None:
        """Compute the sampling grids.

        Args:
            camera: model of the incoming image, distorted or not.
            spec: what the network expects (mean, std, size, multiple).
            input_size: shorter side of the network input in pixels; 0 takes the model's own.
            device: where images go.
            limit: most pixels of the network input.

        Raises:
            BadFrameError: the network input would have more pixels.
        """
        self.camera = camera
        self.rectified = camera.rectified()
        self._device = device
        self._size = network_size(
            *camera.size, input_size or spec.input_size, spec.multiple, limit
        )
        self.network_camera = self.rectified.scaled(self._size[1], self._size[0])
        self.network_px = max(n / m for n, m in zip(camera.size, self._size))
        mean, std = (
            torch.tensor(x, device=device).view(1, 3, 1, 1) * 255 for x in (spec.mean, spec.std)
        )
        self._gain, self._offset = 1 / std, -mean / std
        self.border: Tensor | None = None
        if camera.is_distorted:
            self._network_grid = self._grid(self.network_camera)
            self._image_grid = self._grid(self.rectified)
            self.border = (self._image_grid.abs() > 1).any(dim=-1)[0]
            self._seen = (self._network_grid.abs() <= 1).all(dim=-1)[0].float()  # by the network
            self._seen_share = self._stretched(self._seen)

    def __call__(self, image: NDArray[np.uint8]) -> Preprocessed:
        """Upload one image and prepare it for the network.

        Args:
            image: HxWx3 uint8 RGB of this camera's size.

        Raises:
            BadFrameError: the image is not of the size that camera_info promises.
        """
        if image.shape != (*self.camera.size, 3):
            raise BadFrameError(
                'camera_mismatch', f'image of shape {image.shape} is not of size {self.camera.size}'
            )
        uploaded = torch.from_numpy(image)
        if self._device.type == 'cuda':
            uploaded = uploaded.pin_memory()  # pageable memory is copied with a wait
        uploaded = uploaded.to(self._device, non_blocking=True)
        planes = uploaded.permute(2, 0, 1)[None]
        if self.border is not None:
            sampled = _sample(planes.float(), self._network_grid)
        elif self._device.type == 'cpu':
            # uint8 is resampled with vector instructions: 3 times as fast, within 1/255.
            sampled = F.interpolate(planes, self._size, mode='bicubic').float()
        else:
            sampled = F.interpolate(planes.float(), self._size, mode='bicubic')
        return Preprocessed(sampled.mul_(self._gain).add_(self._offset), uploaded)

    def at_image_size(self, prediction: Tensor) -> Tensor:
        """Stretch a prediction to the image; what is said of the black border stays out of it.

        Args:
            prediction: hxw float32 at the size of the network input.

        Returns:
            HxW float32, NaN where the rectified image shows nothing.
        """
        if self.border is None:
            return self._stretched(prediction)
        # Weighted by what the network saw, pixels beside the border are not blended with it.
        values = self._stretched(prediction * self._seen) / self._seen_share  # 0 / 0 is NaN
        return values.masked_fill_(self.border, torch.nan)

    def _stretched(self, plane: Tensor) -> Tensor:
        return F.interpolate(plane[None, None], self.camera.size, mode='bilinear')[0, 0]

    def rectify(self, image: Tensor) -> Tensor:
        """Return the uploaded image as the rectified camera sees it, black outside.

        Args:
            image: HxWx3 uint8 RGB on the device, as uploaded.

        Returns:
            HxWx3 uint8 RGB on the device; the same tensor when nothing is to be rectified.
        """
        if self.border is None:
            return image
        planes = _sample(image.permute(2, 0, 1)[None].float(), self._image_grid)
        return planes[0].permute(1, 2, 0).add_(0.5).to(torch.uint8)

    def _grid(self, target: Camera) -> Tensor:
        """Return the 1xHxWx2 sampling grid of a rectified view; 2 where there is nothing to see."""
        source = self.camera.rectification_map(target)
        grid = (2 * source + 1) / (self.camera.width, self.camera.height) - 1
        return torch.from_numpy(np.nan_to_num(grid, nan=2.0)).float().to(self._device)[None]


def _sample(planes: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(planes, grid, mode='bilinear', align_corners=False)
