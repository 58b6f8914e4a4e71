# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The unlabelled half of the recipe: pseudo labels, CutMix and feature alignment."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.training.augment import to_network
from depth_anything_ros.training.config import StudentConfig
from depth_anything_ros.training.losses import (
    cutmix_error,
    feature_alignment_loss,
    gradient_loss,
    without_largest,
)
from depth_anything_ros.training.network import inverse_depth_of, Trainee
from depth_anything_ros.training.perturbation import cut_boxes, strong_colours
from depth_anything_ros.training.pretrained import frozen_encoder, Teacher


class Unlabelled:
    """Loss of pictures without depth, given pseudo labels and perhaps a frozen encoder.

    The labels are those that `label` stored, or a frozen teacher's, asked at every step.

    Source: Depth Anything (arXiv 2401.10891) section 3.2 and 3.3.
    """

    def __init__(self, config: StudentConfig, device: str) -> None:
        """Load the frozen networks.

        Args:
            config: where they are and what to do.
            device: where to compute.

        Raises:
            CheckpointError: one cannot be loaded.
        """
        self.config = config
        self.teacher = None if config.teacher is None else Teacher(config.teacher, device)
        self.encoder = None
        if config.encoder is not None:
            self.encoder = frozen_encoder(config.encoder, device)

    def __call__(self, trainee: Trainee, image: Tensor, generator: torch.Generator,
                 stored: Tensor | None = None) -> dict[str, Tensor]:
        """Terms of the loss, named as their weights.

        Args:
            trainee: the student.
            image: Bx3xHxW float32 RGB, 0 to 1, clean.
            generator: on the CPU.
            stored: BxHxW float32 pseudo labels, NaN where unknown; a teacher needs none.
        """
        config = self.config
        target = stored if self.teacher is None else self.teacher(image)  # of clean pictures
        assert target is not None
        seen = strong_colours(image, generator) if config.strong else image
        inside = torch.ones_like(target, dtype=torch.bool)
        if config.strong:
            inside = cut_boxes(target.shape, config.cutmix, generator).to(image.device)
        # The partner of each picture is its neighbour in the batch.
        seen = torch.where(inside[:, None], seen, seen.roll(1, dims=0))
        prediction, features = trainee.predict(seen)
        # Student and teacher are compared in inverse depth, whichever of them is metric.
        prediction = inverse_depth_of(trainee.network, prediction)
        error = cutmix_error(prediction, target, target.roll(1, dims=0), inside)
        loss, kept = without_largest(error, config.ignored)
        terms = {'unlabelled': loss}
        if config.gradient:
            terms['pseudo_gradient'] = gradient_loss(
                prediction, target.nan_to_num(), inside & kept & target.isfinite())
        if self.encoder is not None:
            with torch.no_grad():
                frozen = self.encoder(to_network(seen)).last_hidden_state[:, 1:].float()
            if frozen.shape != features.shape:
                raise CheckpointError(
                    f'{config.encoder} has features of {frozen.shape[-1]} channels and the '
                    f'student of {features.shape[-1]}: take an encoder of the same hidden size')
            terms['alignment'] = feature_alignment_loss(features, frozen, config.margin)
        return terms
