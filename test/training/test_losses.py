# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How pixels, pictures and terms are averaged, and what the paper's second version adds."""

from __future__ import annotations

from collections.abc import Callable
import math

import numpy as np
import pytest
import torch

from depth_anything_ros.training import losses
from depth_anything_ros.training.config import LossWeights
from depth_anything_ros.training.lesson import weigh
from depth_anything_ros.training.losses import (
    below_zero,
    gradient_loss,
    relative_loss,
    silog_loss,
    ssi_loss,
)
from depth_anything_ros.training.scoring import score_image, score_world
from depth_anything_ros.training.world_data import WorldImages

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def pictures(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[:, None]


# Of the first picture all five pixels are valid, of the second three, of the third none.
VALID = pictures([1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]) > 0
PREDICTION = pictures([1, 3, 5, 6, 10], [0, 1, 5, 9, 9], [1, 2, 3, 4, 5])
TARGET = pictures([0, 1, 2, 3, 4], [0, 1, 2, 0, 0], [5, 4, 3, 2, 1])
# First: (-4 -2 0 1 5)/2.4 against (-2 -1 0 1 2)/1.2. Second: (-.6 0 2.4) against (-1.5 0 1.5).
RESIDUALS = (np.array([-4, -2, 0, 1, 5]) / 2.4 - np.array([-2, -1, 0, 1, 2]) / 1.2,
             np.array([0.9, 0, 0.9]))


def test_each_picture_counts_alike_however_sparse_its_depth_is() -> None:
    each = [np.abs(R).mean() for R in RESIDUALS]
    loss = float(ssi_loss(PREDICTION, TARGET, VALID))
    assert loss == pytest.approx(sum(each) / 2, rel=1e-5)
    slopes = [np.abs(np.diff(R)).sum() / len(R) for R in RESIDUALS]
    loss = float(gradient_loss(PREDICTION, TARGET, VALID, scales=1))
    assert loss == pytest.approx(sum(slopes) / 2, rel=1e-5)
    alone = [float(relative_loss(PREDICTION[i:i + 1] + 1, TARGET[i:i + 1] + 1, VALID[i:i + 1]))
             for i in (0, 1)]
    loss = float(relative_loss(PREDICTION + 1, TARGET + 1, VALID))
    assert loss == pytest.approx(sum(alone) / 2, rel=1e-5)


@pytest.mark.parametrize('scale, shift', [(1e-3, 0.0), (1.0, 50.0), (1e6, -3e5)])
@pytest.mark.parametrize('loss', [ssi_loss, gradient_loss, relative_loss])
def test_no_loss_pulls_along_scale_or_shift(loss: Loss, scale: float, shift: float) -> None:
    """A loss that knows neither must not either pull: the output would run away for ever."""
    random = np.random.default_rng(0)
    target = torch.from_numpy(random.uniform(0.05, 1, (2, 16, 16)))
    answer = target + torch.from_numpy(random.normal(0, 0.1, target.shape))
    valid = torch.from_numpy(random.uniform(size=target.shape) < 0.3)
    prediction = (scale * answer + shift).requires_grad_()
    error = loss(prediction, target, valid)
    assert error.item() == pytest.approx(loss(answer, target, valid).item(), rel=1e-6)
    assert error.item() > 0.05
    error.backward()
    assert prediction.grad is not None
    for along in (torch.ones_like(answer), answer):
        pull = (prediction.grad * along).flatten(1).sum(dim=1)
        push = (prediction.grad * along).abs().flatten(1).sum(dim=1)
        assert (pull.abs() < 1e-6 * push).all() and (push > 0).all()


@pytest.mark.parametrize('loss', [ssi_loss, gradient_loss, relative_loss])
def test_the_gradient_is_that_of_the_loss(loss: Loss) -> None:
    """What is fitted inside moves with the prediction, and the gradient knows it."""
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.rand(2, 1, 5, 7, generator=generator, dtype=torch.float64) + 0.1
    valid = torch.rand(1, 5, 7, generator=generator) < 0.8
    assert torch.autograd.gradcheck(lambda p: loss(p, target, valid),
                                    prediction.requires_grad_(), atol=1e-7)


def test_what_lies_below_zero_counts_by_its_share_whatever_the_scale() -> None:
    prediction = pictures([1, -2, 3, 0, -4])  # 6 of 10
    for scale in (1e-3, 1.0, 1e6):
        assert float(below_zero(scale * prediction)) == pytest.approx(0.6)
    assert float(below_zero(prediction.abs())) == 0
    assert float(below_zero(0 * prediction)) == 0


def test_the_losses_of_the_paper_are_averaged() -> None:
    def one(value: float) -> torch.Tensor:
        return torch.tensor(value)

    weights = LossWeights(ssi=1.0, gradient=0.5, unlabelled=2.0, pseudo_gradient=2.0, alignment=3.0)
    labelled = {'ssi': one(1.0), 'gradient': one(4.0)}  # 1 + 2
    unlabelled = {'unlabelled': one(5.0), 'pseudo_gradient': one(7.0)}  # 10 + 14
    assert float(weigh(labelled, weights)) == 3.0
    assert float(weigh(unlabelled, weights)) == 24.0
    assert float(weigh({**labelled, **unlabelled}, weights)) == 13.5
    assert float(weigh({**labelled, **unlabelled, 'alignment': one(1.0)}, weights)) == 10.0


def test_silog_of_the_second_version() -> None:
    # g = log 2 four times: no variance, sqrt(.5) log 2 is what V2 calls it, here ten times that.
    loss = silog_loss(pictures([2, 4, 6, 8]), pictures([1, 2, 3, 4]), pictures([1, 1, 1, 1]) > 0,
                      0.5)
    assert float(loss) / 10 == pytest.approx(math.sqrt(0.5) * math.log(2), rel=1e-5)


def test_a_tenth_of_each_picture_is_ignored() -> None:
    error = torch.stack([torch.arange(100.0).view(10, 10), 1000 - torch.arange(100.0).view(10, 10)])
    loss, kept = losses.without_largest(error, 0.1)
    assert kept.flatten(1).sum(dim=1).tolist() == [90, 90]
    assert kept[0, -1].any().item() is False and kept[1, 0].any().item() is False
    assert float(loss) == pytest.approx((44.5 + 1000 - 54.5) / 2)  # 0 to 89 and 10 to 99
    loss, kept = losses.without_largest(error, 0.0)
    assert kept.all() and float(loss) == pytest.approx(500)


def test_metric_networks_are_scored_as_they_are() -> None:
    depth_m = np.linspace(2, 20, 200).reshape(2, 100)
    doubled = 1 / (2 * depth_m)
    assert score_image(doubled, depth_m)[0] == pytest.approx(0, abs=1e-9)  # any scale is fitted
    assert score_image(doubled, depth_m, metric=True) == (pytest.approx(1.0), 0.0)
    inverse = (1 / depth_m).astype(np.float16)[None]
    held_out = WorldImages(np.zeros((1, 2, 100, 3), np.uint8), inverse, np.zeros((1, 2, 100)))
    score = score_world(lambda image: doubled.astype(np.float32), held_out, 1, metric=True)
    assert score['abs_rel'] == pytest.approx(1.0, abs=1e-3)
