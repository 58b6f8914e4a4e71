# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Crops, masks, alignment and means against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.datasets import DATASETS
from depth_anything_ros.evaluation.image_scores import mean_scores, score_image
from depth_anything_ros.evaluation.protocols import Protocol

ANY = Protocol(min_depth_m=0.1, max_depth_m=100.0)


def bounds(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def test_kitti_crops_to_352x1216_at_the_bottom_centre_then_to_garg():
    protocol = DATASETS['kitti'].protocol
    image = np.arange(375 * 1242).reshape(375, 1242)
    cropped = protocol.cropped(image)
    assert cropped.shape == (352, 1216)
    assert cropped[0, 0] == 23 * 1242 + 13  # 375 - 352 rows above, (1242 - 1216) / 2 to the left
    assert cropped[-1, -1] == image[-1, -14]
    # 352 * .40810811 = 143.7, * .99189189 = 349.1; 1216 * .03594771 = 43.7, * .96405229 = 1172.3
    assert bounds(protocol.valid(np.ones((352, 1216)))) == (143, 349, 43, 1172)


def test_eigen_region_of_kitti():
    # 352 * .3324324 = 117.02, * .91351351 = 321.6
    mask = Protocol(region='eigen').valid(np.ones((352, 1216)))
    assert bounds(mask) == (117, 321, 43, 1172)


def test_nyu_region():
    assert bounds(DATASETS['nyu'].protocol.valid(np.ones((480, 640)))) == (45, 471, 41, 601)


@pytest.mark.parametrize(
    ('name', 'low', 'high'),
    [
        ('kitti', 1e-3, 80), ('nyu', 1e-3, 10), ('sintel', 1e-3, 70), ('ddad', 1e-3, 80),
        ('diode', 0.6, 350),
    ],
)
def test_depth_range_is_open_and_nan_does_not_count(name, low, high):
    protocol = Protocol(DATASETS[name].protocol.min_depth_m, DATASETS[name].protocol.max_depth_m)
    depth = np.array([[low, low * 1.01, high * 0.99, high, np.nan]])
    assert protocol.valid(depth).tolist() == [[False, True, True, False, False]]


def test_perfect_prediction_up_to_scale_and_shift_scores_perfectly():
    depth = np.array([[1.0, 2.0], [4.0, 8.0]])
    score = score_image('a', 3 / depth - 0.2, depth, ANY)
    assert (score.scale, score.shift) == pytest.approx((1 / 3, 0.2 / 3))
    assert score.depth_space == pytest.approx(
        {'abs_rel': 0, 'delta1': 1, 'delta2': 1, 'delta3': 1, 'rmse': 0, 'mae': 0, 'silog': 0},
        abs=1e-12,
    )


def test_scores_in_both_spaces_by_hand():
    # p = 0, 1, 2 against 1/z = 1, .5, .75: slope (-1 * 1 + 1 * .75) / 2 = -.125, mean .75 at
    # p = 1, so the aligned inverse depth is .875, .75, .625
    depth = np.array([[1.0, 2.0, 4 / 3]])
    score = score_image('a', np.array([[0.0, 1.0, 2.0]]), depth, ANY)
    assert (score.scale, score.shift) == pytest.approx((-0.125, 0.875))
    errors = np.array([-0.125, 0.25, -0.125])
    assert score.disparity_space['abs_rel'] == pytest.approx((0.125 + 0.5 + 1 / 6) / 3)
    assert score.disparity_space['rmse'] == pytest.approx(math.sqrt((errors**2).mean()))
    z = np.array([8 / 7, 4 / 3, 8 / 5])
    assert score.depth_space['abs_rel'] == pytest.approx((1 / 7 + 1 / 3 + 0.2) / 3)
    assert score.depth_space['mae'] == pytest.approx((1 / 7 + 2 / 3 + 4 / 15) / 3)
    # ratios 8/7, 3/2, 6/5
    assert score.depth_space['delta1'] == score.disparity_space['delta1'] == pytest.approx(2 / 3)
    assert score.depth_space['delta2'] == 1
    assert score.depth_space['silog'] == pytest.approx(100 * np.log(z / depth).std())
    assert score.pixels == 3 and score.clipped == 0


def test_aligned_prediction_is_clipped_to_the_range_and_that_is_counted():
    # the inverse depth -1 and .001 are both farther than 100 m
    score = score_image('a', np.array([[-1.0, 0.001, 0.5]]), np.array([[50.0, 50.0, 2.0]]), ANY,
                        align='none')
    assert score.depth_space['abs_rel'] == pytest.approx(2 / 3)
    assert score.clipped == pytest.approx(2 / 3)


def test_depth_predictions_are_aligned_in_depth():
    depth = np.array([[1.0, 2.0, 4.0]])
    score = score_image('a', 10 * depth + 5, depth, ANY, space='depth')
    assert (score.scale, score.shift) == pytest.approx((0.1, -0.5))
    assert score.depth_space['rmse'] == pytest.approx(0, abs=1e-12)
    metric = score_image('a', 1.1 * depth, depth, ANY, space='depth', align='none')
    assert metric.depth_space['abs_rel'] == pytest.approx(0.1)


def test_image_without_valid_pixels_has_no_scores():
    score = score_image('a', np.ones((2, 2)), np.full((2, 2), np.nan), ANY)
    assert score.pixels == 0 and math.isnan(score.depth_space['abs_rel'])


def test_prediction_must_fit_and_be_finite_where_it_counts():
    depth = np.array([[1.0, np.nan]])
    score_image('a', np.array([[1.0, np.nan]]), depth, ANY)
    with pytest.raises(DatasetError, match='not finite at 1 pixels'):
        score_image('a', np.array([[np.inf, 1.0]]), depth, ANY)
    with pytest.raises(DatasetError, match='the truth'):
        score_image('a', np.ones((2, 1)), depth, ANY)


def test_mean_is_over_images_not_pixels():
    one = score_image('a', np.array([[2.0]]), np.array([[1.0]]), ANY, 'depth', 'none')
    two = score_image('b', np.ones((1, 9)), np.ones((1, 9)), ANY, 'depth', 'none')
    assert mean_scores([one, two])['depth_space']['abs_rel'] == pytest.approx(0.5)


def test_a_fit_at_or_below_0_is_set_to_the_far_end():
    # as in test_moge.py: 0, .3, .6 for 1/z = .1, .1, .7; 0 becomes 100 m, off by 9
    score = score_image('a', np.array([[0.0, 1, 2]]), np.array([[10, 10, 10 / 7]]), ANY)
    assert score.depth_space['abs_rel'] == pytest.approx((9 + 2 / 3 + 1 / 6) / 3)
    # in inverse depth .01, .3, .6 for .1, .1, .7
    assert score.disparity_space['abs_rel'] == pytest.approx((0.9 + 2 + 1 / 7) / 3)
    assert score.clipped == pytest.approx(1 / 3)
    assert score.moge['abs_rel'] == pytest.approx((0 + 2 / 3 + 1 / 6) / 3)


def test_predictions_below_0_are_fitted_like_others():
    depth = np.array([[1.0, 2.0, 4.0]])
    for prediction, space in ((-3 / depth - 7, 'inverse_depth'), (-2 * depth - 1, 'depth')):
        assert score_image('a', prediction, depth, ANY, space).depth_space['abs_rel'] == (
            pytest.approx(0, abs=1e-12))


def test_metres_at_or_below_0_without_alignment_are_set_to_the_near_end():
    # -1 and 0 m become .1 m for 1 and 2 m
    score = score_image('a', np.array([[-1.0, 0.0]]), np.array([[1.0, 2.0]]), ANY, 'depth', 'none')
    assert score.depth_space['abs_rel'] == pytest.approx((0.9 + 1.9 / 2) / 2)
    assert score.clipped == 1 and math.isnan(score.moge['abs_rel'])


@pytest.mark.parametrize(('space', 'abs_rel'), [
    # the mean of 1, 1/2, 1/4 is 7/12: 12/7 m, off by 5/7, 1/7 and 4/7
    ('inverse_depth', (5 / 7 + 1 / 7 + 4 / 7) / 3),
    # the mean of 1, 2, 4 is 7/3 m, off by 4/3, 1/6 and 5/12
    ('depth', (4 / 3 + 1 / 6 + 5 / 12) / 3),
])
@pytest.mark.parametrize('alike', [0.1, -3.0, 0.0])
def test_predictions_all_alike_become_the_mean(space, abs_rel, alike):
    score = score_image('a', np.full((1, 3), alike), np.array([[1.0, 2.0, 4.0]]), ANY, space)
    assert score.depth_space['abs_rel'] == pytest.approx(abs_rel) and score.scale == 0


@pytest.mark.parametrize('space', ['inverse_depth', 'depth'])
def test_one_pixel_that_counts_is_met(space):
    depth = np.array([[np.nan, 8.0]])
    score = score_image('a', np.array([[np.nan, -2.0]]), depth, ANY, space)
    assert score.pixels == 1 and score.depth_space['abs_rel'] == pytest.approx(0, abs=1e-12)
    assert score.depth_space['silog'] == pytest.approx(0, abs=1e-5)


def test_mean_by_moge_leaves_out_images_without_an_answer():
    depth = np.array([[1.0, 2.0]])
    met = score_image('a', np.array([[1.0, 2.0]]), depth, ANY, 'depth')
    none = score_image('b', np.array([[-1.0, 2.0]]), depth, ANY, 'depth')
    assert mean_scores([met, none])['moge'] == pytest.approx({'abs_rel': 0, 'delta1': 1})
    assert math.isnan(mean_scores([none])['moge']['abs_rel'])
