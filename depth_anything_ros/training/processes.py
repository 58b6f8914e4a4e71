# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of one run under torchrun, on one machine or many."""

from __future__ import annotations

from dataclasses import dataclass
import os

import torch
from torch import nn

from depth_anything_ros.errors import DeviceError


@dataclass(frozen=True)
class Processes:
    """This process among all: its number from 0, how many there are, and its device."""

    rank: int
    count: int
    device: str

    def share_gradients(self, module: nn.Module) -> None:
        """Replace each process's gradients by their mean, in one message."""
        if self.count == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(flat)
        means = torch.split(flat / self.count, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means):
            gradient.copy_(mean.view_as(gradient))

    def together(self, lines: list[str]) -> list[str]:
        """Return the lines of all processes, each once."""
        found: list[list[str]] = [lines] * self.count
        if self.count > 1:
            torch.distributed.all_gather_object(found, lines)
        return sorted({line for each in found for line in each})

    @torch.no_grad()
    def disagreement(self, module: nn.Module) -> float:
        """Return the largest difference of any weight between processes; 0 when all is well."""
        low = torch.cat([p.reshape(-1) for p in module.parameters()])
        high = low.clone()
        if self.count > 1:
            torch.distributed.all_reduce(low, torch.distributed.ReduceOp.MIN)
            torch.distributed.all_reduce(high, torch.distributed.ReduceOp.MAX)
        return float((high - low).max())

    def leave(self) -> None:
        """Part from the other processes."""
        if self.count > 1:
            torch.distributed.destroy_process_group()


def join(device: str) -> Processes:
    """Join the processes that torchrun started; one alone without it.

    Args:
        device: 'cpu', 'cuda:N' or 'cuda', of which each process takes the one of its local number.

    Raises:
        DeviceError: there is no such device.
    """
    kind, _, index = device.partition(':')
    if kind == 'cuda' and int(index or 0) >= torch.cuda.device_count():
        raise DeviceError(f'device is {device} and PyTorch finds {torch.cuda.device_count()} CUDA '
                          'devices: set it to one that is there, or to cpu')
    if not torch.distributed.is_torchelastic_launched():
        return Processes(0, 1, device)
    if device == 'cuda':
        device = f'cuda:{os.environ["LOCAL_RANK"]}'
        torch.cuda.set_device(device)
    torch.distributed.init_process_group('nccl' if device.startswith('cuda') else 'gloo')
    return Processes(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)
