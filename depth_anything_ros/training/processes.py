# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of one run under torchrun, on one machine or many, held together by Fabric."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import gc
import logging
import os

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy
import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from depth_anything_ros.errors import DepthAnythingError, DeviceError
from depth_anything_ros.training.config import TrainConfig
from depth_anything_ros.training.lesson import Lesson


@contextmanager
def joined(config: TrainConfig) -> Iterator[Fabric]:
    """Join the processes that torchrun started, until the block ends well; one alone without it.

    Args:
        config: its device, strategy and precision are looked at, and that each process gets as many
            pictures of a batch as any other.

    Raises:
        DeviceError: there is no such device, or not one for each process.
        DepthAnythingError: a batch cannot be shared out evenly.
    """
    kind, _, index = config.device.partition(':')
    together = torch.distributed.is_torchelastic_launched()
    here = int(os.environ['LOCAL_WORLD_SIZE']) if together else 1
    if kind == 'cuda':
        found = torch.cuda.device_count()
        if together and index:
            raise DeviceError(f'device is {config.device} for each of {here} processes: set it to '
                              'cuda, of which each takes its own')
        if (needed := max(here, int(index or 0) + 1)) > found:
            raise DeviceError(f'device is {config.device}, which takes {needed} CUDA devices here, '
                              f'and PyTorch finds {found}: set it to one that is there, or to cpu')
    count = int(os.environ['WORLD_SIZE']) if together else 1
    _require_even_shares(config, count)
    logging.getLogger('lightning_fabric').setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=kind, devices=[int(index or 0)] if kind == 'cuda' and not together else here,
        num_nodes=count // here, strategy=_strategy(config, count) if count > 1 else 'auto',
        precision='bf16-mixed' if config.bf16 else '32-true',
        plugins=[TorchElasticEnvironment() if together else LightningEnvironment()])
    fabric.launch()
    yield fabric
    if torch.distributed.is_initialized():
        # What the block made must be gone, its cycles too: DDP's part of it would wait for ever
        # after this, and threads of a group that outlives it end a process with an abort. And none
        # leaves while another still needs it.
        gc.collect()
        fabric.barrier()
        torch.distributed.destroy_process_group()


def all_lines(fabric: Fabric, lines: list[str]) -> list[str]:
    """Return the lines of all processes, each once."""
    found: list[list[str]] = [lines] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(found, lines)
    return sorted({line for each in found for line in each})


def asked_by_any(fabric: Fabric, asked: bool) -> bool:
    """Return whether any process was asked to end, to all of them alike."""
    if fabric.world_size == 1:
        return asked
    answer = torch.tensor(float(asked), device=fabric.device)
    return bool(fabric.all_reduce(answer, reduce_op='max') > 0)


def _require_even_shares(config: TrainConfig, processes: int) -> None:
    shares = processes * config.accumulate
    for size in {phase.batch_size for phase in config.phases}:
        if size % shares:
            raise DepthAnythingError(
                f'a batch_size is {size}, and {processes} processes that accumulate '
                f'{config.accumulate} parts each need a multiple of {shares}: change it')


def _strategy(config: TrainConfig, processes: int) -> Strategy:
    if config.strategy == 'fsdp':
        return ModelParallelStrategy(_shard, data_parallel_size=processes, tensor_parallel_size=1)
    return DDPStrategy()


def _shard(lesson: Lesson, mesh: DeviceMesh) -> Lesson:
    """Leave each process its part of every weight; the encoder's layers come together in turn."""
    mesh = mesh['data_parallel']
    for layer in lesson.trainee.network.backbone.encoder.layer:
        fully_shard(layer, mesh=mesh)
    fully_shard(lesson, mesh=mesh)
    return lesson
