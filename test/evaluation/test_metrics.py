# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_anything_ros.evaluation import metrics

TRUTH = [2.0, 4.0, 5.0, math.nan, 1.0]
PREDICTION = [3.0, 4.0, 4.0, 7.0, math.nan]  # errors +1, 0, -1 on the three usable points


@pytest.mark.parametrize(
    ('score', 'expected'),
    [
        (metrics.abs_rel, (1 / 2 + 0 + 1 / 5) / 3),
        (metrics.mae, 2 / 3),
        (metrics.rmse, math.sqrt(2 / 3)),
        (metrics.irmse, math.sqrt(((1 / 6) ** 2 + (1 / 20) ** 2) / 3)),
        (metrics.coverage, 3 / 4),
    ],
)
def test_score_by_hand(score, expected):
    assert score(PREDICTION, TRUTH) == pytest.approx(expected, abs=1e-12)


def test_silog_ignores_scale_and_is_100_times_the_spread_of_the_log_ratio():
    # log ratios are log 2 + (-a, +a): variance a^2 whatever the common factor
    a = 0.1
    truth = np.array([1.0, 10.0])
    prediction = 2 * truth * np.exp([-a, a])
    assert metrics.silog(prediction, truth) == pytest.approx(100 * a, abs=1e-9)
    assert math.isnan(metrics.silog([0.0, 1.0], [1.0, 1.0]))


def test_delta_counts_ratios_strictly_inside_both_ways():
    truth = [4.0, 4.0, 4.0, 4.0, 4.0]
    prediction = [5.0, 4.9, 3.2, 3.3, -1.0]  # ratios 1.25, 1.225, 1.25, 1.21, none
    assert metrics.delta(prediction, truth) == pytest.approx(2 / 5)
    assert metrics.delta(prediction, truth, 1.3) == pytest.approx(4 / 5)


def test_delta_and_silog_are_the_same_in_depth_and_in_inverse_depth():
    rng = np.random.default_rng(0)
    truth, prediction = rng.uniform(1, 50, (2, 200))
    for score in (metrics.delta, metrics.silog):
        assert score(prediction, truth) == pytest.approx(score(1 / prediction, 1 / truth))


def test_alignment_is_the_least_squares_line():
    # p = 0, 1, 2 and 1/z = 1, 2, 5: slope 4/2, mean 8/3 at p = 1, so shift 8/3 - 2
    prediction = np.array([[0.0, 1.0], [2.0, 9.0], [9.0, 9.0]])
    depth = np.array([[1.0, 0.5], [0.2, math.nan], [0.01, 0.01]])
    mask = np.array([[True, True], [True, True], [False, False]])
    scale, shift = metrics.align_inverse_depth(prediction, depth, mask)
    assert scale == pytest.approx(2.0, abs=1e-12)
    assert shift == pytest.approx(2 / 3, abs=1e-12)


def test_alignment_agrees_with_numpy_lstsq():
    rng = np.random.default_rng(1)
    prediction, depth = rng.uniform(1, 80, (2, 1000))
    matrix = np.stack([prediction, np.ones(1000)], axis=1)
    expected = np.linalg.lstsq(matrix, 1 / depth, rcond=None)[0]
    np.testing.assert_allclose(
        metrics.align_inverse_depth(prediction, depth), expected, rtol=1e-9
    )


def test_alignment_of_a_constant_prediction_is_the_mean():
    assert metrics.align_affine([0.1, 0.1, 0.1], [1.0, 2.0, 6.0]) == pytest.approx((0.0, 3.0))


def test_nothing_to_score_is_nan_and_shapes_must_agree():
    assert math.isnan(metrics.abs_rel([math.nan], [1.0]))
    with pytest.raises(ValueError, match='shapes differ'):
        metrics.rmse([1.0, 2.0], [1.0])


def test_tensors_are_scored_in_float64():
    assert metrics.mae(torch.tensor([1.5]), torch.tensor([1.0])) == 0.5
