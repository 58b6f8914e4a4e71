# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`--align node` and `line`: as the node fits, scored where it did not, nothing left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.alignment import align_image
from depth_anything_ros.evaluation.image_scores import mean_scores, score_image
from depth_anything_ros.evaluation.protocols import Protocol
from depth_anything_ros.metric_depth.anchors import Anchors, SensorPoints
from depth_anything_ros.metric_depth.scale import ScaleEstimator
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.pipeline import DepthPipeline

OWN = Protocol(0.3, 80.0, min_pixels=100)
SIZE = (32, 48)  # a board of 8 squares of 4 pixels from top to bottom, 12 from side to side
ROW, COLUMN = np.indices(SIZE)
BLACK = (ROW // 4 + COLUMN // 4) % 2 == 0  # by hand: what is fitted; 768 pixels, as many white


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Return depth of 2 to 10 m, and the p of which 1/z = .5 p + .05."""
    depth_m = np.random.default_rng(0).uniform(2, 10, SIZE)
    return depth_m, (1 / depth_m - 0.05) / 0.5


def test_the_known_pixels_are_divided_as_a_board() -> None:
    depth_m = np.full(SIZE, 5.0)
    depth_m[0, 0] = np.nan
    for align in ('node', 'line'):
        fitted, scored = OWN.divided(depth_m, align)
        assert (scored == ~BLACK).all()
        assert not fitted[0, 0] and fitted.sum() == 767
    assert all((half == OWN.valid(depth_m)).all() for half in OWN.divided(depth_m, 'affine'))


def test_a_laser_scanners_row_is_divided_too() -> None:
    depth_m = np.full((480, 640), np.nan)
    depth_m[200] = 5.0
    fitted, scored = OWN.divided(depth_m, 'line')
    # in the fourth row of squares the first is white: six white, the last of 40 pixels; five black
    assert (scored.sum(), fitted.sum()) == (5 * 60 + 40, 5 * 60)
    assert OWN.enough(depth_m, 'line')
    depth_m[:, 60:] = np.nan  # 60 pixels in one square leave nothing to fit
    assert not OWN.enough(depth_m, 'line')


def test_points_that_disagree_are_outvoted() -> None:
    """A quarter of the fitted pixels sees through to 60 m; least squares would follow them."""
    depth_m, p = scene()
    depth_m[BLACK & (COLUMN % 4 == 0)] = 60.0
    score = score_image('a', p, depth_m, OWN, align='line')
    assert (score.scale, score.shift) == pytest.approx((0.5, 0.05), rel=1e-3)
    assert score.depth_space['abs_rel'] == pytest.approx(0, abs=1e-3)
    assert (score.pixels, score.coverage, score.failure) == (768, 1.0, '')
    assert score_image('a', p, depth_m, OWN).depth_space['abs_rel'] > 0.1


def test_what_was_fitted_is_not_scored() -> None:
    depth_m, p = scene()
    depth_m[BLACK] *= 2  # 1/z = .25 p + .025: all white ones come out twice as far, off by 1
    score = score_image('a', p, depth_m, OWN, align='line')
    assert score.depth_space['abs_rel'] == pytest.approx(1, rel=1e-6)


def test_the_fit_is_that_of_the_nodes_estimator() -> None:
    """The node's own door, with the fitted pixels as a lidar's anchors."""
    depth_m, p = scene()
    p = (p + np.random.default_rng(1).normal(0, 0.05, SIZE)).clip(0).astype(np.float32)
    v, u = np.nonzero(BLACK)
    anchors = Anchors(u.astype(np.float32), v.astype(np.float32),
                      depth_m[BLACK].astype(np.float32), v)
    camera = Camera.from_calibration(48, 32, [[40.0, 0, 24], [0, 40.0, 16], [0, 0, 1]])
    estimator = ScaleEstimator(ScaleConfig(), ModelSpec('a', 'inverse_depth', False))
    fit = estimator.update(torch.from_numpy(p), anchors, camera, 0)
    score = score_image('a', p, depth_m, OWN, align='line')
    assert (score.scale, score.shift) == pytest.approx((fit.scale, fit.shift), rel=1e-4)
    assert abs(score.scale - 0.5) > 1e-3  # and not merely the truth


@pytest.mark.parametrize('space', ['inverse_depth', 'depth'])
def test_a_depth_that_the_node_would_not_publish_counts_as_0(space: str) -> None:
    """Of 768 scored pixels 48 come out behind the camera, or beyond 80 m: no wall, and no gain."""
    depth_m, p = scene()
    p = p if space == 'inverse_depth' else 3 * depth_m + 1
    hidden = ~BLACK & (ROW % 4 == 0) & (COLUMN % 4 == 0)
    assert hidden.sum() == 48
    p[hidden] = -1 if space == 'inverse_depth' else 400  # -.45 / m, or 133 m
    score = score_image('a', p, depth_m, OWN, space, 'line')
    assert score.coverage == pytest.approx(1 - 48 / 768) and score.clipped == 0
    for found, missed in ((score.depth_space, depth_m), (score.disparity_space, 1 / depth_m)):
        assert found['abs_rel'] == pytest.approx(48 / 768, rel=1e-6)
        assert found['delta1'] == pytest.approx(1 - 48 / 768)
        assert found['rmse'] == pytest.approx(np.sqrt((missed[hidden] ** 2).sum() / 768))
        assert found['silog'] == pytest.approx(0, abs=1e-4)  # of the others
    assert math.isnan(score.moge['abs_rel'])


@pytest.mark.parametrize('align', ['node', 'line'])
def test_an_image_that_the_fit_refuses_counts_in_full(align: str) -> None:
    depth_m, p = scene()
    refused = score_image('a', -p + 1, depth_m, OWN, align=align)
    assert 'nearer anchors have smaller predictions' in refused.failure
    assert refused.coverage == 0 and math.isnan(refused.scale)
    assert (refused.depth_space['abs_rel'], refused.depth_space['delta1']) == (1, 0)
    right = score_image('b', p, depth_m, OWN, align=align)
    means = mean_scores([refused, right])['depth_space']
    assert means['abs_rel'] == pytest.approx((1 + right.depth_space['abs_rel']) / 2, rel=1e-6)
    assert right.depth_space['abs_rel'] < 0.02
    assert means['silog'] == right.depth_space['silog']  # of a depth of 0 there is none


class Told:
    """A network that answers what it was told, at its input's size."""

    def __init__(self, prediction: np.ndarray, space: str) -> None:
        self.device = torch.device('cpu')
        self.spec = ModelSpec('told', space, False, input_size=98)
        self._prediction = torch.from_numpy(prediction)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[2:] == self._prediction.shape
        return self._prediction


def street() -> tuple[np.ndarray, np.ndarray]:
    """Return 98x126 ground and wall, and a p whose line is off by up to 20 %, smoothly."""
    row, column = np.indices((98, 126))
    depth_m = np.where(row > 55, 60 / np.maximum(row - 50, 1), 12.0) * (1 + 0.002 * column)
    off = 1 + 0.2 * np.sin(column / 20) * np.sin(row / 15)
    return depth_m, (4 * off / depth_m + 1).astype(np.float32)


@pytest.mark.parametrize('space', ['inverse_depth', 'depth'])
def test_the_node_publishes_what_is_scored(space: str) -> None:
    """The whole pipeline, with the black pixels as the points of a sensor in the camera."""
    depth_m, p = street()
    if space == 'depth':
        p = (0.5 * depth_m * (1 + 0.2 * np.sin(np.indices(depth_m.shape)[1] / 20))).astype('f4')
    protocol = Protocol(0.3, 80.0)
    fitted, _ = protocol.divided(depth_m, 'node')
    camera = Camera.from_calibration(126, 98, [[70.0, 0, 62.5], [0, 70.0, 48.5], [0, 0, 1]])
    xyz_m = (camera.rays() * depth_m[..., None])[fitted].astype(np.float32)
    frame = DepthPipeline(Told(p, space)).process(
        np.zeros((98, 126, 3), np.uint8), camera, SensorPoints(xyz_m, 0, 'camera'), np.eye(4))
    aligned = align_image(p, depth_m, protocol, space, 'node')
    assert np.isfinite(aligned.depth_m).all()
    np.testing.assert_allclose(aligned.depth_m, frame.depth, rtol=2e-3)
    assert (aligned.scale, aligned.shift) == pytest.approx(
        (frame.fit.scale, frame.fit.shift), rel=1e-3)


def test_what_points_can_correct_is_corrected_and_shows_by_one_line() -> None:
    depth_m, p = street()
    node, line = (score_image('a', p, depth_m, OWN, align=align) for align in ('node', 'line'))
    assert node.pixels == line.pixels
    assert line.depth_space['abs_rel'] > 0.05 > 5 * node.depth_space['abs_rel']


def test_the_node_is_not_told_what_is_scored() -> None:
    depth_m, p = street()
    _, white = OWN.divided(depth_m, 'node')
    other_m = np.where(white, 3.0, depth_m)
    one, other = (align_image(p, z, OWN, 'inverse_depth', 'node') for z in (depth_m, other_m))
    np.testing.assert_array_equal(one.depth_m, other.depth_m)


def test_the_node_looks_at_all_of_a_prediction() -> None:
    depth_m, p = street()
    depth_m[0, 0] = p[0, 0] = np.nan  # sky without a prediction: by one line nobody looks there
    score_image('a', p, depth_m, OWN, align='line')
    with pytest.raises(DatasetError, match='not finite at 1 pixels.*--align line'):
        score_image('a', p, depth_m, OWN, align='node')
