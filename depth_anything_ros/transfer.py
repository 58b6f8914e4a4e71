# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Between host and device: arrays go up without a wait, tensors come down with one."""

from __future__ import annotations

from collections.abc import Sequence
import math

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


def download(tensors: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Return float32 tensors of one device as arrays, with one copy and one wait for all."""
    together = torch.cat([tensor.flatten() for tensor in tensors]).cpu().numpy()
    ends = np.cumsum([math.prod(tensor.shape) for tensor in tensors])[:-1]
    parts = np.split(together, ends)
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors)]
