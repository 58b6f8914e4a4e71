# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Edges of the sweep against edges of the image: right, turned and unknowable extrinsics."""

from __future__ import annotations

from dataclasses import replace
import math

import cv2
import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig
from depth_anything_ros.metric_depth import extrinsics
from depth_anything_ros.metric_depth.anchors import Anchors, joined
from depth_anything_ros.metric_depth.extrinsics import agreement, ExtrinsicJudge, outline
from depth_anything_ros.metric_depth.refinement import metric_depth
from depth_anything_ros.metric_depth.scale import ScaleEstimator, State
from depth_anything_ros.network.spec import ModelSpec

PERIOD_NS = 100_000_000
WIDTH, HEIGHT, FOCAL_PX = 320, 240, 260.0
CAMERA = Camera(
    WIDTH, HEIGHT, np.array([[FOCAL_PX, 0, 159.5], [0, FOCAL_PX, 119.5], [0, 0, 1]])
)
RELATIVE = ModelSpec('test', 'inverse_depth', metric=False)


def boards(seed: int, count: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Return depth of boards of random place, size and brightness before a wall, and the image."""
    rng = np.random.default_rng(seed)
    depth_m = np.full((HEIGHT, WIDTH), 12.0, dtype=np.float32)
    image = np.full((HEIGHT, WIDTH), 0.5, dtype=np.float32)
    for z in sorted(rng.uniform(3.0, 9.0, count), reverse=True):
        left, top = rng.integers(0, WIDTH - 20), rng.integers(0, HEIGHT - 20)
        width, height = rng.integers(10, 60), rng.integers(20, 80)
        depth_m[top : top + height, left : left + width] = z
        image[top : top + height, left : left + width] = rng.uniform(0.0, 1.0)
    return depth_m, image


def sweep(
    depth_m: np.ndarray, turned_deg: tuple[float, float, float] = (0, 0, 0), known: bool = True
) -> Anchors:
    """Return up to 48 rings of 106 returns, turned about the camera's axes."""
    v, u = np.mgrid[3:HEIGHT:5, 1:WIDTH:3]
    ring = np.arange(len(v))[:, None].repeat(v.shape[1], axis=1) if known else np.full_like(v, -1)
    rays = np.linalg.inv(CAMERA.K) @ np.stack([u, v, np.ones_like(u)]).reshape(3, -1)
    R = cv2.Rodrigues(np.radians(turned_deg))[0]
    x, y, z_m = CAMERA.K @ R @ (rays * depth_m[v, u].ravel())
    inside = (x >= 0) & (x < z_m * (WIDTH - 1)) & (y >= 0) & (y < z_m * (HEIGHT - 1))
    columns = (a[inside].astype(np.float32) for a in (x / z_m, y / z_m, z_m))
    return Anchors(*columns, ring.ravel()[inside])


def judged(turned_deg: tuple[float, float, float], sweeps: int, known: bool = True) -> tuple:
    judge, reasons = ExtrinsicJudge(), []
    for seed in range(sweeps):
        depth_m, image = boards(seed)
        edges, anchors = outline(image), sweep(depth_m, turned_deg, known)
        reasons.append(judge.judge(edges, anchors, CAMERA, seed * PERIOD_NS))
    return judge, reasons


@pytest.mark.parametrize('known', [True, False], ids=['rings', 'no_rings'])
def test_a_right_extrinsic_is_established_and_never_refused(known):
    judge, reasons = judged((0, 0, 0), 8, known)
    assert judge.established and judge.doubt == 0.0
    assert judge.score >= 0.5
    assert not any(reasons)


@pytest.mark.parametrize(
    ('turned_deg', 'axis', 'back'),
    [((10, 0, 0), 'pitch', -10), ((-10, 0, 0), 'pitch', 10), ((0, 10, 0), 'yaw', -10)],
)
def test_an_extrinsic_off_by_ten_degrees_is_refused_and_the_turn_is_named(turned_deg, axis, back):
    judge, reasons = judged(turned_deg, 8)
    assert not judge.established and judge.doubt > 0.1
    assert judge.score < 0.3
    assert reasons[0] == ''  # one sweep proves nothing
    assert f'{axis} turned by {back} degrees' in reasons[-1]
    assert 'check the extrinsic' in reasons[-1]


def test_a_sweep_that_fits_no_better_turned_is_doubted_but_not_refused():
    judge, reasons = ExtrinsicJudge(), []
    for seed in range(8):
        depth_m, image = boards(seed)[0], boards(seed + 100)[1]  # of another place
        edges = outline(image)
        reasons.append(judge.judge(edges, sweep(depth_m), CAMERA, seed * PERIOD_NS))
    assert not any(reasons)
    assert not judge.established and judge.doubt > 0.1


def test_a_bare_wall_tells_nothing():
    judge = ExtrinsicJudge()
    wall = np.full((HEIGHT, WIDTH), 4.0, dtype=np.float32)
    assert judge.judge(outline(boards(0)[1]), sweep(wall), CAMERA, 0) == ''
    assert math.isnan(judge.score) and not judge.established
    assert agreement(outline(boards(0)[1]), sweep(wall), CAMERA) is None


def test_an_image_without_contrast_tells_nothing():
    depth_m, _ = boards(0)
    assert agreement(np.zeros((100, 133), np.float32), sweep(depth_m), CAMERA) is None


def test_an_established_extrinsic_that_changes_is_doubted_within_a_second():
    judge, _ = judged((0, 0, 0), 10)
    for seed in range(10, 20):
        depth_m, image = boards(seed)
        reason = judge.judge(
            outline(image), sweep(depth_m, (10, 0, 0)), CAMERA, seed * PERIOD_NS
        )
    assert not judge.established
    for seed in range(20, 30):
        depth_m, image = boards(seed)
        reason = judge.judge(
            outline(image), sweep(depth_m), CAMERA, seed * PERIOD_NS
        )
    assert not reason and judge.established


def test_a_sensor_that_is_moved_is_doubted_with_its_first_sweep():
    judge, _ = judged((0, 0, 0), 10)
    assert judge.doubt == 0.0
    depth_m, image = boards(10)
    judge.judge(outline(image), sweep(depth_m, (10, 0, 0)), CAMERA, 10 * PERIOD_NS)
    assert judge.doubt > 0.1


@pytest.mark.parametrize(('turned', 'doubted'), [(0.64, True), (0.61, False), (0.5, False)])
def test_a_sweep_that_lies_better_turned_is_doubted_though_it_lies_well_as_it_is(
    monkeypatch, turned, doubted
):
    judge, _ = judged((0, 0, 0), 10)
    found = np.full(21, 0.05)
    found[0], found[3] = 0.6, turned
    monkeypatch.setattr(extrinsics, 'agreement', lambda *_: found)
    assert judge.judge(np.zeros((1, 1), np.float32), sweep(boards(0)[0]), CAMERA, 0) == ''
    assert judge.established and (judge.doubt > 0.1) == doubted


def test_doubt_enters_the_standard_deviation_until_the_extrinsic_is_established():
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    sigmas = []
    for i in range(8):
        depth_m, image = boards(i)
        prediction, anchors = torch.from_numpy(1 / depth_m), sweep(depth_m)
        edges = outline(image) if i else np.zeros((60, 80), np.float32)  # at first nothing to see
        fit = estimator.update(
            prediction, anchors, CAMERA, i * 100_000_000, None, None, edges
        )
        assert fit.state is State.FITTED
        metric = metric_depth(prediction, fit, anchors, Config())
        sigmas.append(float((metric.stddev_m / metric.depth_m).nanmedian()))
        undoubted = metric_depth(prediction, replace(fit, doubt=0.0), anchors, Config())
        ratio = float((metric.stddev_m / undoubted.stddev_m).nanmedian())
        assert (ratio > 1) == (fit.doubt > 0)
    assert sigmas[0] >= 0.1 > sigmas[-1]
    assert fit.extrinsic_score >= 0.5


def test_an_estimator_refuses_a_turned_sweep():
    estimator = ScaleEstimator(ScaleConfig(max_hold=0.0), RELATIVE)
    for i in range(8):
        depth_m, image = boards(i)
        fit = estimator.update(
            torch.from_numpy(1 / depth_m),
            sweep(depth_m, (10, 0, 0)),
            CAMERA,
            i * 100_000_000,
            None,
            None,
            outline(image),
        )
        assert fit.state is State.UNANCHORED or fit.doubt >= 0.1
    assert fit.state is State.UNANCHORED
    assert fit.extrinsic_score < 0.3


def test_the_outline_is_large_where_brightness_changes_along_a_row():
    gray = np.zeros((200, 300), np.float32)
    gray[:, 150:] = 4.0
    edges = outline(gray)
    assert edges.shape == (100, 150)
    assert edges[50].argmax() in (74, 75)
    assert edges[50, :70].max() == 0
    # Along columns nothing is looked for: rings run along rows.
    assert outline(np.ascontiguousarray(gray.T))[3:-3].max() == 0


@pytest.mark.parametrize('turned_deg', [(10, 0, 0), (0, -30, 0), (0, 0, 90)])
def test_an_established_sensor_that_is_moved_is_refused_for_five_seconds(turned_deg):
    judge, _ = judged((0, 0, 0), 10)
    assert judge.established
    refused_s = []
    for i in range(100):
        depth_m, image = boards(i % 10)
        moved = sweep(depth_m, turned_deg)
        if judge.judge(outline(image), moved, CAMERA, (10 + i) * PERIOD_NS):
            refused_s.append(i / 10)
        assert not judge.established and judge.doubt > 0.1
    assert len([t for t in refused_s if t < 5]) >= 40  # the others are doubted
    assert min(refused_s) == 0.0 and max(refused_s) >= 4.5


def test_a_moved_sensor_that_is_put_back_is_believed_at_once():
    judge, _ = judged((0, 0, 0), 10)
    for i, turned_deg in enumerate([(10, 0, 0)] * 5 + [(0, 0, 0)]):
        depth_m, image = boards(i)
        reason = judge.judge(
            outline(image), sweep(depth_m, turned_deg), CAMERA, (10 + i) * PERIOD_NS
        )
        assert bool(reason) == (turned_deg != (0, 0, 0))
    assert judge.established and judge.doubt == 0.0


def test_an_established_sensor_that_sees_another_place_is_not_refused_after_a_cut():
    judge, _ = judged((0, 0, 0), 10)
    judge.start_scene()
    depth_m, image = boards(0)[0], np.full((HEIGHT, WIDTH), 0.5, np.float32)
    image[:, 160:] = 0.6  # nearly nothing to see
    assert not judge.judge(outline(image), sweep(depth_m), CAMERA, 11 * PERIOD_NS)


@pytest.mark.parametrize('seed', range(3))
def test_sudden_stripes_of_light_make_a_right_sensor_doubtful_at_most(seed):
    judge, _ = judged((0, 0, 0), 10)
    stripes = 0.4 * (np.arange(WIDTH) // 12 % 2)
    for i in range(10):
        depth_m, image = boards(10 * seed + i)
        edges = outline(image + stripes)
        assert judge.judge(edges, sweep(depth_m), CAMERA, (10 + i) * PERIOD_NS) == ''


def test_an_established_sensor_that_sees_no_edge_any_more_is_doubted_but_not_refused():
    judge, _ = judged((0, 0, 0), 10)
    wall = np.full((HEIGHT, WIDTH), 4.0, dtype=np.float32)
    edges = outline(boards(3)[1])
    assert judge.judge(edges, sweep(wall), CAMERA, 10 * PERIOD_NS) == ''
    assert judge.doubt > 0.1
    assert judge.judge(edges, sweep(boards(3)[0], (10, 0, 0)), CAMERA, 11 * PERIOD_NS)
    assert judge.judge(edges, sweep(boards(3)[0]), CAMERA, 12 * PERIOD_NS) == ''
    assert judge.doubt == 0.0


def test_after_a_sharp_turn_an_established_sensor_is_doubted_but_not_refused():
    judge, _ = judged((0, 0, 0), 10)
    depth_m, image = boards(0)[0], boards(100)[1]
    edges, anchors = outline(image), sweep(depth_m, (10, 0, 0))
    assert judge.judge(edges, anchors, CAMERA, 10 * PERIOD_NS, change=0.5) == ''
    assert judge.doubt > 0.1
    assert judge.judge(edges, anchors, CAMERA, 11 * PERIOD_NS, change=0.01)


def test_each_sensor_has_a_judge_of_its_own():
    # The scan is turned, the points are right: what is said of one is not said of the other.
    estimator = ScaleEstimator(ScaleConfig(max_hold=0.0), RELATIVE)
    states: dict[str, set[State]] = {'points': set(), 'scan': set()}
    doubts = {}
    for i in range(24):
        depth_m, image = boards(i // 2)
        source = ('points', 'scan')[i % 2]
        anchors = sweep(depth_m, (10, 0, 0) if source == 'scan' else (0, 0, 0))
        fit = estimator.update(
            torch.from_numpy(1 / depth_m),
            replace(anchors, frame_id=source),
            CAMERA,
            i * PERIOD_NS,
            None,
            None,
            outline(image),
        )
        if i >= 12:
            states[source].add(fit.state)
            doubts[source] = fit.doubt if fit.state is State.FITTED else None
    assert states['points'] == {State.FITTED} and doubts['points'] == 0.0
    assert states['scan'] == {State.UNANCHORED}


def test_a_refused_sweep_leaves_the_word_to_the_other_sources():
    estimator = ScaleEstimator(ScaleConfig(max_hold=0.0), RELATIVE)
    fits = []
    for i in range(16):
        depth_m, image = boards(i)
        turned = sweep(depth_m, (10, 0, 0) if i >= 8 else (0, 0, 0))
        others = sweep(depth_m)[::14]  # right, all over the image
        anchors = joined({'lidar': turned, 'depth': replace(others, ring=others.ring * 0 - 1)})
        fit = estimator.update(
            torch.from_numpy(1 / depth_m), anchors, CAMERA, i * PERIOD_NS, None, None,
            outline(image),
        )
        assert fit.state is State.FITTED
        fits.append(fit)
    assert fits[7].method == 'lidar+depth' and np.isfinite(fits[7].at_anchors).all()
    refused = fits[8:14]
    assert {fit.method for fit in refused} == {'depth'}
    for fit in refused:
        assert 'lidar: edges of the sweep' in fit.reason
        assert abs(fit.scale - 1) < 1e-3 and abs(fit.shift) < 1e-3
        assert np.isfinite(fit.at_anchors).sum() == len(others)  # refinement too
        assert fit.doubt == 0.0
