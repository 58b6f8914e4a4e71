# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A network on a device: normalised image -> prediction, and what it predicts."""

from __future__ import annotations

import re
from typing import Protocol

import torch
from torch import nn, Tensor

from depth_anything_ros.checkpoint import load_network
from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import DeviceError
from depth_anything_ros.model_spec import ModelSpec as ModelSpec


class Predictor(Protocol):
    """Anything that turns an image into a dense prediction."""

    spec: ModelSpec
    device: torch.device

    def __call__(self, image: Tensor) -> Tensor:
        """Predict from a 1x3xhxw float32 image, normalised, on the device, to hxw float32."""
        ...


class TorchPredictor:
    """A network of transformers in evaluation mode."""

    def __init__(
        self, network: nn.Module, spec: ModelSpec, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.spec = spec
        self.device = device
        self.dtype = dtype
        self.network = network.eval().requires_grad_(False).to(device, dtype)
        output_layer = dict(network.named_modules()).get('head.conv3')
        if dtype != torch.float32 and output_layer is not None:
            _keep_float32(output_layer)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Predict one image.

        Args:
            image: 1x3xhxw float32, normalised with spec.mean and spec.std, on the device; h and w
                are multiples of spec.multiple.

        Returns:
            hxw float32 on the device, in the space that spec names.
        """
        prediction: Tensor = self.network(image.to(self.dtype)).predicted_depth.float()  # 1xhxw
        if prediction.shape[-2:] != image.shape[-2:]:  # some networks answer at half the size
            prediction = nn.functional.interpolate(
                prediction[:, None], image.shape[-2:], mode='bilinear', align_corners=False
            )[:, 0]
        return prediction[0]


def _keep_float32(layer: nn.Module) -> None:
    """Run the layer that writes the prediction in float32 inside a half precision network.

    bfloat16 holds 8 bits: written in it, depth would come in steps of 0.4 %, 4 cm at 10 m.
    """
    layer.float()
    layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))


def load_predictor(model: ModelConfig, runtime: RuntimeConfig) -> TorchPredictor:
    """Load a checkpoint on to a device.

    Args:
        model: which checkpoint, and what it predicts where the checkpoint does not say.
        runtime: device and precision.

    Returns:
        The network, in evaluation mode, without gradients.

    Raises:
        CheckpointError: the checkpoint cannot be found, read or understood.
        DeviceError: the device is not there.
    """
    device = select_device(runtime.device)
    dtype = select_dtype(runtime.precision, device)
    network, spec = load_network(model)
    return TorchPredictor(network, spec, device, dtype)


def select_device(name: str) -> torch.device:
    """Turn runtime.device into a device that is there.

    Args:
        name: 'auto', 'cpu', 'cuda' or 'cuda:N'; auto is CUDA where there is one.

    Raises:
        DeviceError: the name is unknown, or CUDA is asked for and absent; there is no fallback.
    """
    if not re.fullmatch(r'auto|cpu|cuda(:\d+)?', name):
        raise DeviceError(f'runtime.device "{name}" is unknown: use auto, cpu, cuda or cuda:N')
    if name == 'cpu' or (name == 'auto' and not torch.cuda.is_available()):
        return torch.device('cpu')
    if not torch.cuda.is_available():
        cause = (
            f'PyTorch {torch.__version__} is built without CUDA: install its CUDA build'
            if torch.version.cuda is None
            else 'PyTorch finds no CUDA device: check nvidia-smi and the driver'
        )
        raise DeviceError(f'runtime.device is {name} but {cause}, or set runtime.device to cpu')
    index = int(name.partition(':')[2] or 0)
    if index >= torch.cuda.device_count():
        raise DeviceError(
            f'runtime.device is {name} but there are only {torch.cuda.device_count()} CUDA '
            'devices: use cuda:0 or another that is there'
        )
    return torch.device('cuda', index)


def select_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Turn runtime.precision into a number format that suits the device.

    Args:
        precision: 'auto', 'float32', 'float16' or 'bfloat16'; auto is float32 on a CPU and on
            cards without fast half precision (before compute capability 7.0), else float16, whose
            rounding is 8 times finer than bfloat16's.
        device: where the network runs.
    """
    if precision != 'auto':
        named: torch.dtype = getattr(torch, precision)
        return named
    if device.type == 'cuda' and torch.cuda.get_device_capability(device) >= (7, 0):
        return torch.float16
    return torch.float32
