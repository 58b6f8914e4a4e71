# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several sources of anchors: who may speak, who is believed, and what each is worth in the fit."""

from dataclasses import dataclass
import itertools

import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors, joined
from depth_anything_ros.metric_depth.fitting import fit_line
from depth_anything_ros.metric_depth.sources import gather, takes

CAMERA = Camera.from_calibration(320, 240, [[200.0, 0, 160], [0, 200.0, 120], [0, 0, 1]])


@dataclass
class Fixed:
    """A source that has seen a slanted wall, 4 m away on the left and 12 on the right."""

    name: str
    factor: float = 1.0
    count: int = 400
    sigma: float = 0.01
    columns: tuple[float, float] = (0.0, 319.0)
    seed: int = 0

    def anchors(self, camera, config):
        rng = np.random.default_rng(self.seed + len(self.name))
        u = rng.uniform(*self.columns, self.count).astype(np.float32)
        v = rng.uniform(0, 239, self.count).astype(np.float32)
        z_m = self.factor * (4 + u / 40) * np.exp(rng.normal(0, self.sigma, self.count))
        return Anchors(
            u,
            v,
            z_m.astype(np.float32),
            np.full(self.count, -1),
            np.full(self.count, self.sigma, np.float32),
        )


@pytest.mark.parametrize(
    ('method', 'name', 'expected'),
    [
        ('auto', 'stereo', True),
        ('lidar', 'lidar', True),
        ('lidar', 'depth', False),
        ('depth,motion', 'motion', True),
        ('depth,motion', 'lidar', False),
        ('none', 'lidar', False),
    ],
)
def test_who_may_speak(method, name, expected):
    assert takes(method, name) is expected


def test_anchors_of_all_sources_are_one_set_that_remembers_whose_they_are():
    sources = [Fixed('motion', count=50), Fixed('lidar', count=300), Fixed('depth', count=200)]
    verdict = gather(sources, CAMERA, ScaleConfig())
    assert verdict.anchors.names == ('lidar', 'depth', 'motion')
    assert [len(verdict.anchors.of(name)) for name in verdict.anchors.names] == [300, 200, 50]
    assert len(verdict.anchors.of('stereo')) == 0
    np.testing.assert_array_equal(
        verdict.anchors.of('motion').z_m, sources[0].anchors(None, None).z_m
    )
    assert not verdict.outvoted and verdict.complaint == ''


def test_no_source_is_no_anchors_and_a_source_without_points_is_an_empty_set():
    assert gather([], CAMERA, ScaleConfig()).anchors is None
    assert len(gather([Fixed('depth', count=0)], CAMERA, ScaleConfig()).anchors) == 0
    assert joined({}) is None


@pytest.mark.parametrize('order', itertools.permutations(range(3)))
@pytest.mark.parametrize('factor', [0.8, 1.2, 3.0])
@pytest.mark.parametrize('wrong', ['lidar', 'depth', 'stereo'])
def test_two_outvote_a_third_whatever_its_rank_and_the_order(wrong, factor, order):
    sources = [
        Fixed(name, factor if name == wrong else 1.0) for name in ('lidar', 'depth', 'stereo')
    ]
    verdict = gather([sources[i] for i in order], CAMERA, ScaleConfig())
    assert list(verdict.outvoted) == [wrong]
    assert verdict.outvoted[wrong] == pytest.approx(np.log(factor), abs=0.02)
    assert wrong in verdict.complaint and f'{factor - 1:+.0%}'[:2] in verdict.complaint
    assert wrong not in verdict.anchors.names


@pytest.mark.parametrize('factor', [0.8, 1.2])
def test_of_two_that_disagree_the_one_that_measures_range_is_believed(factor):
    verdict = gather([Fixed('stereo'), Fixed('lidar', factor)], CAMERA, ScaleConfig())
    assert list(verdict.outvoted) == ['stereo']
    assert verdict.outvoted['stereo'] == pytest.approx(-np.log(factor), abs=0.02)


@pytest.mark.parametrize('counts', [(4000, 30), (30, 4000)])
def test_the_offset_is_of_the_outvoted_source_however_many_points_each_has(counts):
    lidar, depth = counts
    verdict = gather(
        [Fixed('lidar', count=lidar), Fixed('depth', 1.5, count=depth)], CAMERA, ScaleConfig()
    )
    assert verdict.outvoted['depth'] == pytest.approx(np.log(1.5), abs=0.02)


def test_sources_that_differ_by_less_than_they_can_tell_agree():
    close = gather([Fixed('lidar'), Fixed('depth', 1.05)], CAMERA, ScaleConfig())
    rough = gather(
        [Fixed('lidar', count=40), Fixed('motion', 1.12, count=40, sigma=0.3)],
        CAMERA,
        ScaleConfig(),
    )
    assert not close.outvoted and not rough.outvoted


def test_sources_that_see_different_parts_of_the_image_are_not_compared():
    verdict = gather(
        [Fixed('lidar', columns=(0, 100)), Fixed('depth', 2.0, columns=(200, 319))],
        CAMERA,
        ScaleConfig(),
    )
    assert not verdict.outvoted and len(verdict.anchors) == 800


def test_a_source_that_may_not_speak_is_not_asked():
    class Untouchable:
        name = 'depth'

        def anchors(self, camera, config):
            raise AssertionError

    verdict = gather([Untouchable(), Fixed('lidar')], CAMERA, ScaleConfig(method='lidar'))
    assert verdict.anchors.names == ('lidar',)


def test_the_line_goes_by_the_sure_anchors_where_unsure_ones_are_biased():
    rng = np.random.default_rng(3)
    p = rng.uniform(0.1, 1.0, 400)
    y = 0.5 * p + 0.02
    sigma = np.where(np.arange(400) < 200, 0.01, 0.3).astype(np.float32)
    biased = np.where(sigma > 0.1, y * 1.1, y)
    # Weights of 1 and (.01 / .3)^2: the bias of 10 % moves the line by about a thousandth of that.
    fit = fit_line(p, biased, own_sigma=sigma)
    np.testing.assert_allclose(fit.scale * p + fit.shift, y, rtol=0.01)
    trusting = fit_line(p, biased)
    assert np.abs((trusting.scale * p + trusting.shift) / y - 1).max() > 0.03
