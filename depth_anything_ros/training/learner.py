# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The network that a run trains, with its optimizer and its average, on one device or many."""

from __future__ import annotations

from collections.abc import Iterator
import copy
import dataclasses
import math

from lightning_fabric import Fabric
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import DepthAnythingForDepthEstimation

from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.training.config import Phase, TrainConfig
from depth_anything_ros.training.lesson import Lesson, weigh
from depth_anything_ros.training.network import Trainee
from depth_anything_ros.training.parts import Part
from depth_anything_ros.training.state import State
from depth_anything_ros.training.student import Unlabelled


class Learner:
    """Takes steps; what it is and where it stands is in its state."""

    def __init__(self, fabric: Fabric, config: TrainConfig,
                 network: DepthAnythingForDepthEstimation) -> None:
        """Spread a network over the processes.

        Args:
            fabric: of this process and the others.
            config: the run.
            network: float32 on the CPU; it is what learns from here on.

        Raises:
            CheckpointError: a frozen network that the run needs cannot be loaded.
        """
        self._fabric, self._config = fabric, config
        trainee = Trainee(network).to(fabric.device)
        self._averaged = copy.deepcopy(network).requires_grad_(False)
        _freeze(trainee, config)
        unlabelled = None
        if config.student is not None:
            unlabelled = Unlabelled(config.student, str(fabric.device))
        self._lesson = Lesson(trainee, unlabelled, config.loss.silog_lambda)
        if config.strategy != 'fsdp' or fabric.world_size == 1:  # FSDP2 wants contiguous weights
            self._lesson.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._spread = fabric.setup_module(self._lesson)
        self._optimizer = _optimizer(trainee, config)
        self._ema = {name: weights.detach().clone()
                     for name, weights in trainee.network.named_parameters()}
        self.state = State(config.out, trainee, self._optimizer, self._ema, fabric)

    def step(self, number: int, phase: Phase, lr: float, parts: Iterator[Part],
             generator: torch.Generator) -> dict[str, float]:
        """Learn from this process's share of a batch.

        Args:
            number: of the step, from 1.
            phase: of the step.
            lr: learning rate of the decoder.
            parts: of the share, `accumulate` of them, which go through the network in turn.
            generator: of all chance in the step, on the CPU.

        Returns:
            Terms of the loss of this share, named as their weights.

        Raises:
            DepthAnythingError: the loss is not finite.
        """
        weights = dataclasses.replace(
            self._config.loss, relative=self._config.loss.relative * phase.relative)
        self._optimizer.zero_grad(set_to_none=True)
        means: dict[str, float] = {}
        count = self._config.accumulate
        for i, (labelled, unlabelled) in enumerate(parts, start=1):
            with self._fabric.no_backward_sync(self._spread, enabled=i < count):
                terms: dict[str, Tensor] = self._spread(
                    labelled, unlabelled, phase.colours, generator)
                loss = weigh(terms, weights) / count
                if not math.isfinite(value := float(loss.detach())):
                    raise DepthAnythingError(
                        f'the loss is {value} at step {number}: lower the learning rate; the last '
                        f'good state is {self.state.folder}')
                self._fabric.backward(loss)
            for name, term in terms.items():
                means[name] = means.get(name, 0.0) + float(term.detach()) / count
        for group in self._optimizer.param_groups:
            group['lr'] = lr * group['factor']
        self._fabric.clip_gradients(self._spread, self._optimizer, max_norm=self._config.clip,
                                    error_if_nonfinite=False)
        self._optimizer.step()
        decay = min(self._config.ema, 1 - 10 / (10 + number))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(list(self._ema.values()), list(self._lesson.trainee.network.parameters()), None)
        return means

    @torch.no_grad()
    def averaged(self) -> DepthAnythingForDepthEstimation:
        """Return the network of averaged weights; called by all processes."""
        for name, weights in self._averaged.named_parameters():
            mean = self._ema[name]
            weights.copy_(mean.full_tensor() if isinstance(mean, DTensor) else mean)
        return self._averaged


def _freeze(trainee: Trainee, config: TrainConfig) -> None:
    """Leave out of training what the settings do, and what nothing goes through."""
    network = trainee.network
    if (mask_token := getattr(network.backbone.embeddings, 'mask_token', None)) is not None:
        mask_token.requires_grad_(False)
    network.neck.fusion_stage.layers[0].residual_layer1.requires_grad_(False)
    if config.encoder_lr == 0:
        network.backbone.requires_grad_(False)
    if not config.labelled:
        trainee.coarse.requires_grad_(False)


def _optimizer(trainee: Trainee, config: TrainConfig) -> torch.optim.Optimizer:
    groups = []
    for encoder in (True, False):
        named = [p for name, p in trainee.named_parameters()
                 if p.requires_grad and name.startswith('network.backbone.') == encoder]
        for matrices in (True, False):
            chosen = [p for p in named if (p.ndim >= 2 and p.shape[0] > 1) == matrices]
            if chosen:
                groups.append({'params': chosen, 'factor': config.encoder_lr if encoder else 1.0,
                               'weight_decay': config.weight_decay if matrices else 0.0})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))
