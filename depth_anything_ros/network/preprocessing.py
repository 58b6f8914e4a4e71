# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""uint8 RGB image on the host -> normalised network input on the device, in one sampling.

The resize rules are the authors' code, and as there pixels are not rounded in between. Depth
Anything 1 and 2 (arXiv 2401.10891): bicubic, aspect kept, the shorter side becomes the input size,
each side is rounded to a multiple of the patch.
MiDaS 3 and Depth Pro: stretched to a square.
Depth Anything 3 (utils/io/input_processor.py): the longer side becomes the input size, then each
side the nearest multiple; each of the two steps averages areas where it shrinks, else is bicubic.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.camera import Array, Camera
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.network.resampling import area_matrix, bicubic_matrix
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.stretch import stretched


def network_size(
    height: int,
    width: int,
    input_size: int,
    multiple: int,
    limit: float = math.inf,
    resize: str = 'lower_bound',
) -> tuple[int, int]:
    """Return the network's (height, width) for an image.

    Args:
        height: image height in pixels.
        width: image width in pixels.
        input_size: length in pixels of the side that the rule goes by.
        multiple: patch size; both sides become multiples of it.
        limit: most pixels.
        resize: the rule. 'lower_bound': both sides scaled by max(input_size / height, input_size /
            width), rounded to the nearest multiple, or up where the nearest would be shorter than
            input_size. 'upper_bound': scaled by the smaller one, rounded to pixels, then to the
            nearest multiple, up where two are equally near. 'stretch': both sides become the
            largest multiple within input_size, whatever the image's shape.

    Raises:
        BadFrameError: these are more pixels than the limit.
    """
    if resize == 'stretch':
        rows = columns = max(input_size // multiple, 1) * multiple
    elif resize == 'upper_bound':
        rows, columns = (
            max(math.floor(side / multiple + 0.5), 1) * multiple
            for side in _within(height, width, input_size)
        )
    else:
        scale = max(input_size / height, input_size / width)

        def fit(side: int) -> int:
            rounded = round(scale * side / multiple) * multiple
            above = math.ceil(scale * side / multiple) * multiple
            return rounded if rounded >= input_size else above

        rows, columns = fit(height), fit(width)
    if rows * columns > limit:
        raise BadFrameError(
            'image_too_large',
            f'an image of {width}x{height} makes a network input of {columns}x{rows}, more pixels '
            f'than limits.network_pixels ({limit}): lower model.input_size, cut the image, or '
            'raise that',
        )
    return rows, columns


def _within(height: int, width: int, longer: int) -> tuple[int, int]:
    """Return the size in whole pixels of an image whose longer side becomes so long."""
    scale = longer / max(height, width)
    return max(round(scale * height), 1), max(round(scale * width), 1)


class Preprocessor:
    """Turns images of one camera into network inputs; all geometry is computed once.

    Attributes:
        camera: the camera of the incoming image.
        rectified: the pinhole camera of everything that comes out.
        network_camera: the pinhole camera of the network input.
        network_px: image pixels that a pixel of the network spans, along the coarser axis.
        border: HxW bool on the device, true where a pixel of the rectified image shows nothing of
            the world; None where all of them do.
    """

    def __init__(
        self,
        camera: Camera,
        spec: ModelSpec,
        input_size: int,
        device: torch.device,
        limit: float = math.inf,
        body: NDArray[np.bool_] | None = None,
    ) -> None:
        """Compute the sampling grids.

        Args:
            camera: model of the incoming image, distorted or not.
            spec: what the network expects (mean, std, size, multiple).
            input_size: see network_size(); 0 takes the model's own.
            device: where images go.
            limit: most pixels of the network input.
            body: HxW, true where the incoming image shows the robot itself.

        Raises:
            BadFrameError: the network input would have more pixels, or the body is of another size.
        """
        self.camera = camera
        self.rectified = camera.rectified()
        self._device = device
        input_size = input_size or spec.input_size
        self._size = network_size(*camera.size, input_size, spec.multiple, limit, spec.resize)
        self._axes: tuple[Tensor, Tensor] | None = None
        self.network_camera = self.rectified.scaled(self._size[1], self._size[0])
        self.network_px = max(n / m for n, m in zip(camera.size, self._size))
        mean, std = (
            torch.tensor(x, device=device).view(1, 3, 1, 1) * 255 for x in (spec.mean, spec.std)
        )
        self._gain, self._offset = 1 / std, -mean / std
        self.border: Tensor | None = None
        self._seen: Tensor | None = None  # by the network
        self._image_grid: Tensor | None = None
        self._image_map: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        if camera.is_distorted:
            self._network_grid = self._grid(camera.rectification_map(self.network_camera))
            source = camera.rectification_map(self.rectified)
            self._image_grid = self._grid(source)
            u, v = np.nan_to_num(source, nan=-9.0).astype(np.float32).transpose(2, 0, 1)
            self._image_map = np.ascontiguousarray(u), np.ascontiguousarray(v)
            self.border = (self._image_grid.abs() > 1).any(dim=-1)[0]
            self._seen = (self._network_grid.abs() <= 1).all(dim=-1)[0]
        elif spec.resize == 'upper_bound':
            self._axes = self._resampled_in_steps(
                [camera.size, _within(*camera.size, input_size), self._size]
            )
        if body is not None:
            self._leave_out(body)

    def _leave_out(self, body: NDArray[np.bool_]) -> None:
        """Count the robot's own body to what shows nothing of the world."""
        if body.shape != self.camera.size:
            raise BadFrameError(
                'bad_mask',
                f'camera.mask is of {body.shape[1]}x{body.shape[0]}, images are of '
                f'{self.camera.width}x{self.camera.height}: draw it on an image as it arrives',
            )
        plane = torch.from_numpy(body).to(self._device).float()[None, None]
        if self._image_grid is not None:
            plane = _sample(plane, self._image_grid)
        # A pixel of the network that shows some of the body knows of it.
        seen = F.interpolate(plane, self._size, mode='area')[0, 0] == 0
        border = plane[0, 0] > 0
        self.border = border if self.border is None else self.border | border
        self._seen = seen if self._seen is None else self._seen & seen

    def _resampled_in_steps(self, sizes: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """Return what resizing from size to size does to columns and to rows, as matrices."""
        down, along = (torch.eye(side, device=self._device) for side in sizes[-1])
        for old, new in zip(sizes[-2::-1], sizes[:0:-1]):  # from the last step to the first
            grows = new[0] > old[0] or new[1] > old[1]
            matrix = bicubic_matrix if grows else area_matrix
            down = down @ matrix(new[0], old[0], self._device)
            along = along @ matrix(new[1], old[1], self._device)
        return down, along.T

    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """Upload one image and prepare it for the network.

        Args:
            image: HxWx3 uint8 RGB of this camera's size.

        Returns:
            1x3xhxw float32 on the device, normalised.

        Raises:
            BadFrameError: the image is not of the size that camera_info promises.
        """
        if image.shape != (*self.camera.size, 3):
            raise BadFrameError(
                'camera_mismatch', f'image of shape {image.shape} is not of size {self.camera.size}'
            )
        if self._device.type == 'cpu' and self._image_grid is None and self._axes is None:
            sampled = _bicubic_on_host(image, self._size)
        else:
            sampled = self._sampled(image)
        return sampled.mul_(self._gain).add_(self._offset)

    def _sampled(self, image: NDArray[np.uint8]) -> Tensor:
        """Return the image on the device at the network's size, 1x3xhxw float32 from 0 to 255."""
        uploaded = torch.from_numpy(image)
        if self._device.type == 'cuda':
            uploaded = uploaded.pin_memory()  # pageable memory is copied with a wait
        uploaded = uploaded.to(self._device, non_blocking=True)
        planes = uploaded.permute(2, 0, 1)[None].float()
        if self._image_grid is not None:
            return _sample(planes, self._network_grid)
        if self._axes is not None:
            return self._axes[0] @ planes @ self._axes[1]
        return F.interpolate(planes, self._size, mode='bicubic')

    def at_image_size(self, prediction: Tensor, sky: Tensor | None = None) -> Tensor:
        """Stretch a prediction to the image; what is said of border, body and sky stays out of it.

        Args:
            prediction: hxw float32 at the size of the network input.
            sky: hxw bool, where there is no depth; None where that is not known.

        Returns:
            HxW float32, NaN where the rectified image shows nothing of the world, or sky.
        """
        solid = self._seen
        if sky is not None:
            solid = ~sky if solid is None else solid & ~sky
        if solid is None:
            return self._stretched(prediction)
        # Weighted by what has depth, pixels beside border and sky are not blended with them.
        share = self._stretched(solid.float())
        values = self._stretched(prediction.masked_fill(~solid, 0.0)) / share  # 0 / 0 is NaN
        if sky is not None:
            values.masked_fill_(self._stretched(sky.float()) >= 0.5, torch.nan)
        return values if self.border is None else values.masked_fill_(self.border, torch.nan)

    def _stretched(self, plane: Tensor) -> Tensor:
        return stretched(plane[None], *self.camera.size)[0]

    def rectify(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image as the rectified camera sees it, black outside.

        Args:
            image: HxWx3 uint8 RGB on the host, as it came.

        Returns:
            HxWx3 uint8 RGB; the same array when nothing is to be rectified.
        """
        if self._image_map is None:
            return image
        rectified = cv2.remap(
            image, *self._image_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
        return np.asarray(rectified, np.uint8)

    def _grid(self, source: Array) -> Tensor:
        """Return the 1xHxWx2 grid that samples these pixels; 2 where there is nothing to see."""
        grid = (2 * source + 1) / (self.camera.width, self.camera.height) - 1
        return torch.from_numpy(np.nan_to_num(grid, nan=2.0)).float().to(self._device)[None]


def _bicubic_on_host(image: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Return what PyTorch's bicubic interpolation does, in a quarter of its time on a CPU."""
    resized = cv2.resize(
        image.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_CUBIC
    )
    planes = np.empty((1, 3, *size), np.float32)
    cv2.split(resized, list(planes[0]))
    return torch.from_numpy(planes)


def _sample(planes: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(planes, grid, mode='bilinear', align_corners=False)
