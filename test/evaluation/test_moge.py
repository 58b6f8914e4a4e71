# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rule of MoGe's harness against numbers worked out by hand, and what it has no answer to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_anything_ros.evaluation.moge import moge_scores


def scores(prediction, depth, space='inverse_depth'):
    return moge_scores(np.array([prediction], float), np.array([depth], float), space)


def test_a_fit_at_or_below_0_is_held_to_the_farthest_depth_of_the_image():
    # 1/z = .1, .1, .7 at p = 0, 1, 2: slope (.7 - .1) / 2 = .3, mean .3, so 0, .3, .6; held to .1
    # they are 10, 10/3 and 5/3 m for 10, 10 and 10/7: off by 0, 2/3 and 1/6
    found = scores([0, 1, 2], [10, 10, 10 / 7])
    assert found['abs_rel'] == pytest.approx((0 + 2 / 3 + 1 / 6) / 3)
    assert found['delta1'] == pytest.approx(2 / 3)


def test_predictions_below_0_are_as_good_as_others():
    assert scores([-5, -4, -3], [10, 10, 10 / 7]) == pytest.approx(
        scores([0, 1, 2], [10, 10, 10 / 7]))


def test_nothing_holds_the_near_end():
    # 1/z = 1, .5 exactly 4 p: no near limit of a data set (DIODE's .6 m) leaves .2 m out
    assert scores([1.25, 0.125], [0.2, 2.0])['abs_rel'] == pytest.approx(0, abs=1e-12)


def test_depth_is_fitted_as_its_inverse():
    # twice the true depth is half its inverse; a depth fit of z^2 would be off
    assert scores([2, 4, 8], [1, 2, 4], 'depth')['abs_rel'] == pytest.approx(0, abs=1e-12)
    # 1/p = 1, .5 and z = 1, 4: any two points lie on a line
    assert scores([1, 2], [1, 4], 'depth')['delta1'] == 1


@pytest.mark.parametrize('bad', [0.0, -1.0, math.nan, math.inf])
def test_depth_without_an_inverse_has_no_score(bad):
    assert all(math.isnan(x) for x in scores([1, bad], [1, 2], 'depth').values())


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_not_finite_has_none_either_unless_nobody_knows_the_truth(bad):
    assert math.isnan(scores([1, bad, 3], [1, 2, 3])['abs_rel'])
    assert scores([1, bad, 0.5], [1, math.nan, 2])['abs_rel'] == pytest.approx(0, abs=1e-12)


def test_predictions_all_alike_become_the_mean_of_inverse_depth():
    # mean of 1 and 1/2 is 3/4: 4/3 m, off by 1/3 and by 1/3
    assert scores([7, 7], [1, 2])['abs_rel'] == pytest.approx(1 / 3)


def test_one_pixel_is_met_and_none_has_no_score():
    assert scores([-3, 5], [math.nan, 8]) == pytest.approx({'abs_rel': 0, 'delta1': 1})
    assert math.isnan(scores([1, 2], [math.nan, math.inf])['abs_rel'])


def test_a_thousand_times_the_first_percentile_is_too_far():
    depth = [2.0] + [1.0] * 199 + [1000.0, 1000.1]  # the percentile of 202 numbers is 1
    exact = [0.5] + [1.0] * 199 + [0.001]
    assert scores([*exact, 99.0], depth)['abs_rel'] == pytest.approx(0, abs=1e-9)
    assert scores([*exact[:-1], 99.0, 0.001], depth)['abs_rel'] > 1e-3
