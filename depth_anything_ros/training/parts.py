# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What each process learns from at each step of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, ExitStack
from dataclasses import dataclass

from lightning_fabric import Fabric
import torch
from torch.utils.data import ConcatDataset

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.training.config import Phase, TrainConfig
from depth_anything_ros.training.lesson import Pictures
from depth_anything_ros.training.loading import draws_of_step, open_pseudo, open_samples, Stream
from depth_anything_ros.training.sample import Sample

Part = tuple[Pictures | None, Pictures | None]  # labelled and unlabelled ones


def schedule(config: TrainConfig) -> Iterator[tuple[Phase, float]]:
    """Yield the phase and the learning rate of each step."""
    for phase in config.phases:
        for i in range(phase.steps):
            yield phase, phase.lr_from + (phase.lr_to - phase.lr_from) * (i + 1) / phase.steps


@dataclass(frozen=True)
class Parts:
    """What of each batch this process learns from, part by part, on its device."""

    labelled: Stream | None
    unlabelled: Stream | None
    count: int
    device: torch.device

    def of_next_step(self) -> Iterator[Part]:
        """Yield the parts of the next step."""
        for _ in range(self.count):
            yield self._pictures(self.labelled), self._pictures(self.unlabelled)

    def _pictures(self, stream: Stream | None) -> Pictures | None:
        if stream is None:
            return None
        batch = next(stream)
        return (batch.image_rgb.to(self.device), batch.inverse_depth.to(self.device),
                batch.semantic.to(self.device))

    @property
    def skipped(self) -> list[str]:
        """What was wrong with pictures in whose place others were taken."""
        return [text for stream in (self.labelled, self.unlabelled) if stream is not None
                for text in stream.skipped]


@contextmanager
def open_parts(config: TrainConfig, fabric: Fabric, first: int) -> Iterator[Parts]:
    """Open the pictures of a run from the step after `first`."""
    mine = slice(fabric.global_rank, None, fabric.world_size)

    def stream(number: int, samples: ConcatDataset[Sample], ratio: int) -> Stream:
        draws = (draws_of_step(phase, config.seed, step, number, len(samples),
                               phase.batch_size * ratio)[mine][part::config.accumulate]
                 for step, (phase, _) in enumerate(schedule(config), start=1) if step > first
                 for part in range(config.accumulate))
        return Stream(samples, draws, config.workers)

    with ExitStack() as stack:
        labelled = unlabelled = None
        if config.labelled:
            data = open_samples(config.data)
            if (largest := max(phase.batch_size for phase in config.phases)) > len(data):
                raise DatasetError(f'data hold {len(data)} pictures and a batch_size is {largest}: '
                                   'add pictures or lower it')
            labelled = stack.enter_context(closing(stream(1, data, 1)))
        if (student := config.student) is not None:
            if student.pseudo:
                extra = open_pseudo(student.pseudo, student.confidence)
            else:
                extra = open_samples(student.unlabelled, with_depth=False)
            unlabelled = stack.enter_context(closing(stream(2, extra, student.ratio)))
        yield Parts(labelled, unlabelled, config.accumulate, fabric.device)
