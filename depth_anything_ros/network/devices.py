# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a network runs, and in which number format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
import re

import torch

from depth_anything_ros.errors import DeviceError


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
        precision: as runtime.precision; auto is float32 on a CPU (arithmetic.py knows of graphs
            there) and on cards without fast half precision (before compute capability 7.0), else
            float16, whose rounding is 8 times finer than bfloat16's.
        device: where the network runs.
    """
    if precision != 'auto':
        named: torch.dtype = getattr(torch, precision)
        return named
    if device.type == 'cuda' and torch.cuda.get_device_capability(device) >= (7, 0):
        return torch.float16
    return torch.float32


def current(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which CUDA's current device is this one; nothing changes on a CPU.

    Each card has a current stream of its own, and what names no device (an event, pinned memory)
    goes to the current one, which is the first card in every new thread.
    """
    return torch.cuda.device(device) if device.type == 'cuda' else nullcontext()
