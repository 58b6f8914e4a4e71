# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one step teaches: pictures in, the terms of the loss out."""

from __future__ import annotations

import torch
from torch import nn, Tensor
import torch.nn.functional as F

from depth_anything_ros.training.config import LossWeights
from depth_anything_ros.training.losses import (
    below_zero,
    gradient_loss,
    relative_loss,
    silog_loss,
    ssi_loss,
)
from depth_anything_ros.training.network import coarse_targets, is_metric, Trainee
from depth_anything_ros.training.perturbation import strong_colours
from depth_anything_ros.training.sample import FAR_M, NEAR_M, UNKNOWN_CLASS
from depth_anything_ros.training.student import Unlabelled

# Term -> the loss of the paper that it is part of; the others are of labelled pictures.
_LOSS_OF = {'unlabelled': 'unlabelled', 'pseudo_gradient': 'unlabelled', 'alignment': 'alignment'}

Pictures = tuple[Tensor, Tensor, Tensor]


class Lesson(nn.Module):
    """All that a step computes, in one forward, which is what a library spreads over devices."""

    def __init__(self, trainee: Trainee, unlabelled: Unlabelled | None,
                 silog_lambda: float) -> None:
        super().__init__()
        self.trainee = trainee
        self.silog_lambda = silog_lambda
        self._unlabelled = unlabelled  # its networks are frozen, and no part of what is trained

    def forward(self, labelled: Pictures | None, unlabelled: Pictures | None, colours: float,
                generator: torch.Generator) -> dict[str, Tensor]:
        """Terms of the loss, named as their weights.

        Args:
            labelled: Bx3xHxW uint8 RGB, BxHxW float32 inverse depth in 1/m (0 for sky, NaN where
                unknown) and BxHxW int64 classes; or None.
            unlabelled: the same, with pseudo labels or nothing for depth; or None.
            colours: strength of the random colours of labelled pictures, 0 to 1.
            generator: on the CPU.
        """
        terms: dict[str, Tensor] = {}
        if labelled is not None:
            image, inverse_depth, semantic = labelled
            image = strong_colours(image.float() / 255, generator, colours)
            terms = labelled_loss(self.trainee, image, inverse_depth, semantic, self.silog_lambda)
        if unlabelled is not None:
            assert self._unlabelled is not None
            image, stored, _ = unlabelled
            terms.update(self._unlabelled(self.trainee, image.float() / 255, generator, stored))
        return terms


def labelled_loss(trainee: Trainee, image: Tensor, inverse_depth: Tensor, semantic: Tensor,
                  silog_lambda: float = 0.85) -> dict[str, Tensor]:
    """Terms of the loss of labelled pictures, named as their weights.

    Args:
        trainee: the network.
        image: Bx3xHxW float32 RGB, 0 to 1.
        inverse_depth: BxHxW float32; 0 for sky, NaN where unknown.
        semantic: BxHxW int64.
        silog_lambda: of silog_loss().
    """
    prediction, coarse, logits = trainee(image)
    valid = inverse_depth.isfinite()  # sky is valid: 0, the farthest
    inverse_depth = inverse_depth.nan_to_num()
    ranged = (inverse_depth > 1 / FAR_M) & (inverse_depth < 1 / NEAR_M)
    target = inverse_depth.clamp(max=1 / NEAR_M)
    small = coarse_targets(target, coarse.shape[1:])
    known = coarse_targets(valid, coarse.shape[1:]) > 0
    classes = coarse_targets(semantic, coarse.shape[1:]).long()
    named = int((classes != UNKNOWN_CLASS).sum())
    semantic_error = F.cross_entropy(logits, classes, ignore_index=UNKNOWN_CLASS, reduction='sum')
    terms = {'coarse': ssi_loss(coarse, small, known), 'semantic': semantic_error / max(named, 1)}
    if is_metric(trainee.network):
        target_m = 1 / target.clamp(min=1e-6)
        return {'silog': silog_loss(prediction, target_m, ranged, silog_lambda), **terms}
    return {
        'ssi': ssi_loss(prediction, target, valid),
        'gradient': gradient_loss(prediction, target, valid),
        'relative': relative_loss(prediction, target, ranged),
        **terms,
        'negative': below_zero(prediction),
    }


def weigh(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """Average of the labelled, the unlabelled and the alignment loss, of those that are there.

    Each is the sum of its terms times their weights.

    Source: Depth Anything (arXiv 2401.10891), the end of section 3.3.
    """
    losses: dict[str, list[Tensor]] = {}
    for name, term in terms.items():
        losses.setdefault(_LOSS_OF.get(name, 'labelled'), []).append(getattr(weights, name) * term)
    return torch.stack([torch.stack(parts).sum() for parts in losses.values()]).mean()
