# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is made of a network's answers: inverse depth, how sure it is, and what is left out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.labelling.teacher import (
    fingerprint,
    inverse_of,
    judged,
    Label,
    Limits,
    Teacher,
)
from depth_anything_ros.network.spec import ModelSpec

RAMP = np.broadcast_to(np.arange(1, 9, dtype=np.float32), (4, 8))  # mean |d - median| is 2


def spec(**values: object) -> ModelSpec:
    return ModelSpec(**{'name': 'n', 'space': 'inverse_depth', 'metric': False, **values})


def test_views_of_a_relative_network_are_compared_after_their_scale_and_shift() -> None:
    label = judged(RAMP, 3 * RAMP - 7, is_metric=False)
    np.testing.assert_allclose(label.inverse_depth, (RAMP - 1) / 7, rtol=1e-6)
    np.testing.assert_allclose(label.confidence, 1, atol=1e-5)
    assert label.disagreement == pytest.approx(0, abs=1e-5)
    # Of 32 values the 2nd percentile is at place .02 * 31 < 3, a 1, and the 98th an 8.
    assert label.spread == pytest.approx(7 / 8)
    assert label.sky == 1 / 8  # the farthest of eight columns


def test_disagreement_is_in_mean_deviations_and_metres_are_taken_as_they_are() -> None:
    other = RAMP.copy()
    other[0, 0] += 1  # half a mean deviation
    label = judged(RAMP, other, is_metric=True)
    expected = np.ones((4, 8))
    expected[0, 0] = 0.5
    np.testing.assert_allclose(label.confidence, expected)
    np.testing.assert_array_equal(label.inverse_depth, RAMP)
    assert label.disagreement == pytest.approx(0.5 / 32)
    assert judged(RAMP, 3 * RAMP, is_metric=True).disagreement == pytest.approx(4.5)  # 2 * 4.5 / 2


def test_sky_is_zero_and_counted_where_the_network_says_it() -> None:
    sky = RAMP.copy()
    sky[:3] = np.nan
    label = judged(sky, sky, is_metric=False)
    assert (label.inverse_depth[:3] == 0).all() and label.inverse_depth[3, 7] == 1
    assert label.sky == 0.75 and label.disagreement == pytest.approx(0, abs=1e-5)
    apart = judged(sky, RAMP, is_metric=False)
    assert apart.disagreement > 1 and (apart.confidence[3] > 0.99).all()
    whole = judged(np.full((2, 2), np.nan, np.float32), np.full((2, 2), 1, np.float32), False)
    assert whole.sky == 1 and (whole.inverse_depth == 0).all()


@pytest.mark.parametrize('values, reason', [
    ({}, None), ({'sky': 0.91}, 'sky'), ({'disagreement': 0.3}, 'disagreement'),
    ({'disagreement': np.nan}, 'disagreement'), ({'spread': 0.01}, 'near_constant'),
    ({'spread': np.nan}, 'near_constant')])
def test_what_is_left_out(values: dict[str, float], reason: str | None) -> None:
    good = {'sky': 0.9, 'disagreement': 0.25, 'spread': 0.05}
    assert Limits().verdict(Label(RAMP, RAMP, **{**good, **values})) == reason


def test_inverse_depth_of_every_kind_of_network() -> None:
    values = np.array([[2, 0.5, -1, np.nan]], np.float32)
    np.testing.assert_allclose(inverse_of(values, spec()), [[3, 1.5, 0, np.nan]])  # shift is free
    np.testing.assert_allclose(inverse_of(values, spec(metric=True)), [[2, 0.5, 0, np.nan]])
    np.testing.assert_allclose(inverse_of(values, spec(space='depth', metric=True)),
                               [[0.5, 2, 1000, np.nan]])


class Network:
    """Says the red of its input, and notes how many pictures came at once."""

    device = torch.device('cpu')

    def __init__(self, **values: object) -> None:
        self.spec, self.shapes = spec(input_size=28, **values), []

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(image.shape))
        red = image[:, 0] * 0.229 + 0.485
        return red[0] if len(image) == 1 else red


def test_pictures_of_one_size_go_at_once_and_each_gets_its_own_label() -> None:
    network, asked = Network(), []

    def load(model: ModelConfig, runtime: object) -> Network:
        asked.append(runtime)
        return network

    rng = np.random.default_rng(0)
    pictures = [np.sort(rng.integers(40, 255, (*size, 3), np.uint8), axis=1)
                for size in ((28, 42), (28, 28), (28, 42), (28, 42))]
    labels = Teacher(load, ModelConfig(checkpoint='c'), 'cpu', 1, 4)(pictures)
    assert (asked[0].precision, asked[0].batch) == ('float32', 4)
    assert network.shapes == [(4, 3, 28, 42), (4, 3, 28, 42), (4, 3, 28, 28)]
    for picture, label in zip(pictures, labels):
        red = picture[..., 0].astype(float)
        red -= red.min()
        np.testing.assert_allclose(label.inverse_depth, red / red.max(), atol=1e-5)
        assert label.disagreement < 1e-4  # red is where it is, mirrored too
    one = Teacher(load, ModelConfig(checkpoint='c'), 'cpu', 1, 1)(pictures)
    np.testing.assert_allclose(one[3].inverse_depth, labels[3].inverse_depth, atol=1e-6)
    thin = np.zeros((1, 60_000, 3), np.uint8)
    assert isinstance(Teacher(load, ModelConfig(checkpoint='c'), 'cpu', 1, 1)([thin])[0],
                      BadFrameError)


def test_metres_that_depend_on_the_lens_are_not_called_metric() -> None:
    for values, metric in (({}, False), ({'metric': True}, True),
                           ({'metric': True, 'canonical_focal_px': 300.0}, False)):
        load = partial(_network, values)
        assert Teacher(load, ModelConfig(checkpoint='c'), 'cpu', 1, 1).is_metric == metric


def _network(values: dict[str, object], *_: object) -> Network:
    return Network(**values)


def test_the_fingerprint_is_of_weights_and_settings(tmp_path: Path) -> None:
    names = ('a', 'b', 'config.json')
    for folder in names[:2]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'config.json').write_text('{}')
        (tmp_path / folder / 'model.safetensors').write_bytes(b'weights')
    (tmp_path / 'b/README.md').write_text('read me')
    a, b = (fingerprint(tmp_path / name) for name in 'ab')
    assert a == b and len(a) == 64
    (tmp_path / 'b/model.safetensors').write_bytes(b'weight2')
    assert fingerprint(tmp_path / 'b') != a
    assert fingerprint(tmp_path / 'a/model.safetensors') not in (a, b)
