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
from depth_anything_ros.network.spec import at_size_of, ModelSpec, SKY_FROM
from depth_anything_ros.network.untrusted import SENSELESS

# Largest deviation from eager float32 PyTorch, relative to the largest prediction. Measured on
# ViT-S at 518x686: 2e-6 OpenVINO, 7e-6 ONNX Runtime, 0.017 OpenVINO in bfloat16.
# A file in 8 bits is held to what it said itself where it was accepted (quantisation.py).
LIMITS = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.05, torch.int8: 0.05}
# Largest AbsRel from float32 of what is chosen by itself, bfloat16, and of what is written, 8 bits.
LOSSES = {torch.bfloat16: 0.01, torch.int8: 0.03}
_NEAR = 0.05  # predictions below this share of the largest are too small to be relative to


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

    def said(
        self, predict: Callable[[Tensor], Tensor], device: torch.device
    ) -> NDArray[np.float32]:
        """Return what another way to run predicts for the same image, in the shape of values."""
        prediction = predict(test_image(self.height, self.width).to(device)).float().cpu().numpy()
        strided: NDArray[np.float32] = prediction[..., :: self.stride, :: self.stride]
        return strided

    def deviation(self, said: NDArray[np.float32]) -> float:
        """Return max |p - reference| / max |reference| of the worst plane, inf if not finite."""
        difference = np.abs(said - self.values)
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
    deviation, limit = reference.deviation(reference.said(predict, device)), LIMITS[dtype]
    if not deviation <= limit:
        expected = 'its own accepted result' if dtype == torch.int8 else 'float32 PyTorch'
        raise UnusableError(
            f'{name} deviates from {expected} by {deviation:.3g} of the largest prediction '
            f'at {reference.height}x{reference.width} (allowed: {limit:g}): its output is wrong '
            'here, set runtime.backend to torch and runtime.precision to float32'
        )


def abs_rel_from(
    given: NDArray[np.float32], wanted: NDArray[np.float32], *, metric: bool
) -> float:
    """Return the mean of |s given + t - wanted| / wanted with the best line (s, t).

    Args:
        given: hxw prediction, or 2xhxw with sky.
        wanted: likewise, of the network that it should equal. Left out is what is sky in it or
            below a twentieth of its largest value; sky in one of the two alone is an error of 1.
        metric: whether predictions count as they are, without a line, since they are metres.

    Returns:
        Inf where nothing can be judged or a number is not finite.
    """
    if not np.isfinite(given).all():
        return math.inf
    counted = np.ones(wanted.shape[-2:], bool)
    mistaken = ~counted
    if wanted.ndim == 3:
        sky, also = (plane[1] >= SKY_FROM for plane in (wanted, given))
        counted, mistaken = ~sky, sky != also
        given, wanted = given[0], wanted[0]
    counted &= wanted > _NEAR * wanted[counted].max(initial=0)
    p, q = wanted[counted].astype(float), given[counted].astype(float)
    line = (1.0, 0.0)
    if not metric:  # a source of scale fits one
        line = np.linalg.lstsq(np.stack([q, np.ones_like(q)], 1), p, rcond=None)[0]
    error = np.zeros(wanted.shape)
    error[counted] = np.abs(line[0] * q + line[1] - p) / p
    error[mistaken] = 1
    judged = counted | mistaken
    return float(error[judged].mean()) if judged.any() else math.inf
