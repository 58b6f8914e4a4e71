# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Between host and device: arrays go up without a wait, tensors come down with one."""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor


def upload(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device; on the CPU they share memory."""
    tensor = torch.from_numpy(array)
    if device.type == 'cuda':
        tensor = tensor.pin_memory()  # pageable memory is copied with a wait
    return tensor.to(device, non_blocking=True)


def upload_together(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Return arrays as float32 tensors on a device, with one copy for all.

    Whole numbers must be below 2**24, up to which float32 holds them.
    """
    sizes = [array.size for array in arrays]
    together = np.empty(sum(sizes), dtype=np.float32)
    for array, part in zip(arrays, np.split(together, np.cumsum(sizes)[:-1])):
        part.reshape(array.shape)[...] = array
    parts: tuple[Tensor, ...] = torch.split(upload(together, device), sizes)
    return [part.view(array.shape) for array, part in zip(arrays, parts)]


def download(tensors: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Return float32 tensors of one device as arrays, with one copy and one wait for all."""
    together = torch.cat([tensor.flatten() for tensor in tensors]).cpu().numpy()
    ends = np.cumsum([math.prod(tensor.shape) for tensor in tensors])[:-1]
    parts = np.split(together, ends)
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors)]
