# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What eager float32 PyTorch says of a fixed image, to which every other way to run is held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn, Tensor
import torch.nn.functional as F

from depth_anything_ros.errors import BackendError, CheckpointError, reason
from depth_anything_ros.network.spec import at_size_of, ModelSpec
from depth_anything_ros.network.untrusted import SENSELESS

# Largest deviation from eager float32 PyTorch, relative to the largest prediction. Measured on
# ViT-S at 518x686: 2e-6 OpenVINO, 7e-6 ONNX Runtime, 0.017 OpenVINO in bfloat16.
# A file in 8 bits is held to what it said itself where it was accepted (quantisation.py).
LIMITS = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.05, torch.int8: 0.05}


class UnusableError(BackendError):
    """A backend does not run a file, or computes something else than PyTorch did."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What eager float32 PyTorch predicts for test_image(height, width).

    Attributes:
        values: float32 prediction at every stride-th row and column, one plane or two.
    """

    height: int
    width: int
    stride: int
    values: NDArray[np.float32]

    def deviation(self, predict: Callable[[Tensor], Tensor], device: torch.device) -> float:
        """Return max |p - reference| / max |reference| of the worst plane, inf if not finite."""
        prediction = predict(test_image(self.height, self.width).to(device)).float().cpu().numpy()
        difference = np.abs(prediction[..., :: self.stride, :: self.stride] - self.values)
        largest = np.abs(self.values).max(axis=(-2, -1))
        if not np.isfinite(difference).all() or not largest.any():
            return math.inf
        # A plane that is zero (no sky in the test image) is held to the size of the other one.
        largest = np.where(largest > 0, largest, largest.max())
        return float((difference.max(axis=(-2, -1)) / largest).max())


def test_image(height: int, width: int) -> Tensor:
    """Return a normalised 1x3xhxw float32 image of smooth gradients, texture and hard edges."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 3, height, width)
    for cells, mode in ((2, 'bilinear'), (6, 'nearest'), (40, 'bilinear')):
        noise = torch.randn(1, 3, cells, cells, generator=generator)
        image += F.interpolate(noise, (height, width), mode=mode) / 2
    return image


@torch.no_grad()
def reference_of(
    network: nn.Module, spec: ModelSpec, size: tuple[int, int] | None = None
) -> Reference:
    """Run a float32 network of transformers on the test image.

    Args:
        network: in evaluation mode, on any device.
        spec: names the usual size: of a 4:3 camera's image in the network.
        size: another (height, width) in pixels.

    Raises:
        CheckpointError: it cannot predict, or predicts numbers that are not finite.
    """
    ratios = {'lower_bound': (1, 4 / 3), 'upper_bound': (3 / 4, 1), 'stretch': (1, 1)}[spec.resize]
    height, width = size or tuple(
        math.ceil(spec.input_size * ratio / spec.multiple) * spec.multiple for ratio in ratios
    )
    device = next(network.parameters()).device
    image = test_image(height, width).to(device)
    try:
        values = at_size_of(image, network(image).predicted_depth).cpu().numpy()
    except SENSELESS as error:
        raise CheckpointError(
            f'{spec.name} cannot predict an image of {height}x{width} ({reason(error)}): its '
            'config.json belongs to another network, or there is too little memory for this size'
        ) from error
    check_finite(values, spec)
    stride = max(height // 64, 1)
    return Reference(height, width, stride, values[..., ::stride, ::stride].astype(np.float32))


def small_size(spec: ModelSpec) -> tuple[int, int]:
    """Return a (height, width) in pixels that is quick to predict and of no usual shape."""
    sides = (spec.input_size,) * 2 if spec.resize == 'stretch' else (140, 182)
    height, width = (max(side // spec.multiple, 1) * spec.multiple for side in sides)
    return height, width


def check_finite(values: NDArray[np.float32], spec: ModelSpec) -> None:
    """Refuse a network that predicts something else than numbers.

    Raises:
        CheckpointError: it does.
    """
    if not np.isfinite(values).all():
        raise CheckpointError(
            f'{spec.name} predicts numbers that are not finite on a test image: its weights are '
            'damaged, download or train them again'
        )


def check(
    predict: Callable[[Tensor], Tensor], reference: Reference, name: str, device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Hold a backend to what eager float32 PyTorch says of the same image.

    Raises:
        BackendError: it deviates by more than LIMITS[dtype].
    """
    deviation, limit = reference.deviation(predict, device), LIMITS[dtype]
    if not deviation <= limit:
        expected = 'its own accepted result' if dtype == torch.int8 else 'float32 PyTorch'
        raise UnusableError(
            f'{name} deviates from {expected} by {deviation:.3g} of the largest prediction '
            f'at {reference.height}x{reference.width} (allowed: {limit:g}): its output is wrong '
            'here, set runtime.backend to torch and runtime.precision to float32'
        )
