# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""States over time: what is fitted, held, rejected, reset, and never silently wrong."""

from __future__ import annotations

from dataclasses import replace
import math

import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.fitting import fit_line
from depth_anything_ros.metric_depth.glance import sample
from depth_anything_ros.metric_depth.refinement import metric_depth
from depth_anything_ros.metric_depth.scale import GroundPlane, ScaleEstimator, State
from depth_anything_ros.network.spec import ModelSpec

HEIGHT, WIDTH = 120, 160
CAMERA = Camera(WIDTH, HEIGHT, np.array([[120.0, 0, 80], [0, 120.0, 60], [0, 0, 1]]))
RELATIVE = ModelSpec('test', 'inverse_depth', metric=False)
METRIC = ModelSpec('test', 'depth', metric=True)
V, U = torch.meshgrid(torch.arange(float(HEIGHT)), torch.arange(float(WIDTH)), indexing='ij')
TRUE_INVERSE = 0.02 + 0.3 * V / HEIGHT


def predicted(scale: float = 0.5, shift: float = 0.01) -> torch.Tensor:
    """Return a prediction whose true line is (scale, shift)."""
    return (TRUE_INVERSE - shift) / scale


def points(stretch: float = 1.0, count: int = 300, seed: int = 0) -> Anchors:
    """Return anchors with 2 % noise whose depths are all stretched by a factor."""
    generator = torch.Generator().manual_seed(seed)
    u = (torch.rand(count, generator=generator) * (WIDTH - 1)).round()
    v = (torch.rand(count, generator=generator) * (HEIGHT - 1)).round()
    noise = 1 + 0.02 * torch.randn(count, generator=generator)
    z = stretch * noise / TRUE_INVERSE[v.long(), u.long()]
    return Anchors(*(x.numpy() for x in (u, v, z, torch.arange(count) % 16)))


def picture(seed: int, shift_px: float = 0.0) -> np.ndarray:
    """Return a 24x32 gray image of smooth random content, moved sideways."""
    rng = np.random.default_rng(seed)
    v, u = torch.meshgrid(torch.arange(24.0), torch.arange(32.0) + shift_px, indexing='ij')
    numbers = rng.uniform(-0.5, 0.5, (12, 3))
    waves = [torch.sin(a * u + b * v + 6 * c) for a, b, c in numbers]
    return torch.stack(waves).sum(dim=0).numpy()


def seconds(t: float) -> int:
    return round(t * 1e9)


def test_lidar_gives_fitted_metres():
    fit = ScaleEstimator(ScaleConfig(), RELATIVE).update(predicted(), points(), CAMERA, 5)
    assert (fit.state, fit.method, fit.stamp_ns) == (State.FITTED, 'lidar', 5)
    assert fit.scale == pytest.approx(0.5, rel=0.02)
    assert fit.shift == pytest.approx(0.01, abs=0.003)
    assert fit.inliers > 280
    assert fit.residual == pytest.approx(0.02, rel=0.3)


def test_anchors_of_one_depth_leave_the_rest_of_the_line_to_the_past():
    # Alone they tell s p + t of one p, and a shift of 0 is guessed: 16 % off at the image's foot.
    prediction = predicted(0.5, -0.1)
    row = points(count=2000)
    row = row[row.v == 60]
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    estimator.update(prediction, points(), CAMERA, 0)
    after = estimator.update(prediction, row, CAMERA, seconds(0.1))
    alone = ScaleEstimator(ScaleConfig(), RELATIVE).update(prediction, row, CAMERA, 0)
    for fit, off, sigma in ((after, (0.0, 0.03), (0.0, 0.1)), (alone, (0.1, 0.2), (0.2, 9.0))):
        assert fit.state is State.FITTED
        metric = metric_depth(prediction, fit, None, Config())
        foot = (110, 80)
        error = abs(float(metric.depth_m[foot] * TRUE_INVERSE[foot]) - 1)
        assert off[0] <= error <= off[1]
        assert sigma[0] <= float(metric.stddev_m[foot] / metric.depth_m[foot]) <= sigma[1]


def test_nothing_to_anchor_to_is_said():
    fit = ScaleEstimator(ScaleConfig(), RELATIVE).update(predicted(), None, CAMERA, 0)
    assert fit.state is State.UNANCHORED
    assert fit.method == 'none'
    assert math.isnan(fit.scale)
    assert fit.reason == 'no anchors'
    assert not fit.assumed


def test_an_assumed_scale_is_unanchored_and_says_assumed():
    config = ScaleConfig(unanchored='assume', assumed_scale=0.4, assumed_shift=0.02)
    fit = ScaleEstimator(config, RELATIVE).update(predicted(), None, CAMERA, 0)
    assert (fit.state, fit.method, fit.assumed) == (State.UNANCHORED, 'assumed', True)
    assert (fit.scale, fit.shift) == (0.4, 0.02)


def test_a_metric_checkpoint_needs_no_anchor_but_takes_one():
    estimator = ScaleEstimator(ScaleConfig(), METRIC)
    alone = estimator.update(1 / TRUE_INVERSE, None, CAMERA, 0)
    assert (alone.state, alone.method) == (State.METRIC, 'checkpoint')
    assert (alone.scale, alone.shift) == (1.0, 0.0)
    fitted = estimator.update(1 / TRUE_INVERSE, points(1.3), CAMERA, 1)
    assert (fitted.state, fitted.method) == (State.FITTED, 'lidar')
    assert fitted.scale == pytest.approx(1.3, rel=0.02)


def test_a_metric_checkpoint_of_inverse_depth_is_the_less_sure_the_farther():
    spec = ModelSpec('test', 'inverse_depth', metric=True)
    estimator = ScaleEstimator(ScaleConfig(), spec)
    alone = estimator.update(TRUE_INVERSE, None, CAMERA, 0)
    assert (alone.state, alone.scale, alone.shift) == (State.METRIC, 1.0, 0.0)
    # At 2 m and at 40 m, log depth: hypot(.15 (line), .15 (residual), z * .01 (shift)).
    depth_m = torch.tensor([[2.0, 40.0]])
    metric = metric_depth(1 / depth_m, alone, None, Config())
    torch.testing.assert_close(metric.depth_m, depth_m)
    relative = (metric.stddev_m / depth_m)[0].tolist()
    assert relative == pytest.approx([0.21307, 0.45277], rel=1e-3)
    fitted = estimator.update(TRUE_INVERSE, points(1.3), CAMERA, 1)
    assert (fitted.state, fitted.method) == (State.FITTED, 'lidar')
    assert fitted.scale == pytest.approx(1 / 1.3, rel=0.02)


def test_few_points_pull_a_metric_checkpoint_by_scale_alone():
    fit = ScaleEstimator(ScaleConfig(), METRIC).update(
        1 / TRUE_INVERSE, points(1.2, count=10), CAMERA, 0
    )
    assert fit.state is State.FITTED
    assert fit.shift == 0.0
    assert 1.1 < fit.scale < 1.22


def test_method_none_fits_nothing():
    config = ScaleConfig(method='none')
    fit = ScaleEstimator(config, RELATIVE).update(predicted(), points(), CAMERA, 0)
    assert (fit.state, fit.reason) == (State.UNANCHORED, 'scale.method is none')


def test_camera_height_stands_in_for_lidar_and_says_so():
    # Ground 1.5 m below a camera tilted by 0.2 rad.
    ground = GroundPlane.from_pitch(1.5, 0.2)
    truth = ground.inverse_depth(CAMERA, U, V).clamp(min=0.01)
    config = ScaleConfig(camera_height=1.5, camera_pitch=0.2)
    estimator = ScaleEstimator(config, RELATIVE)
    fit = estimator.update((truth - 0.01) / 0.5, None, CAMERA, 0)
    assert (fit.state, fit.method) == (State.FITTED, 'camera_height')
    assert fit.scale == pytest.approx(0.5, rel=0.02)
    only_lidar = ScaleEstimator(replace(config, method='lidar'), RELATIVE)
    assert only_lidar.update((truth - 0.01) / 0.5, None, CAMERA, 0).state is State.UNANCHORED


def test_a_camera_under_the_ground_gives_no_metres_and_says_why():
    wrong = GroundPlane((0.0, 1.0, 0.2), -1.5)
    fit = ScaleEstimator(ScaleConfig(), RELATIVE).update(predicted(), None, CAMERA, 0, None, wrong)
    assert fit.state is State.UNANCHORED
    assert fit.reason.startswith('the camera is -1.5 m above the ground')


def test_the_last_fit_is_held_for_max_hold_with_growing_doubt():
    estimator = ScaleEstimator(ScaleConfig(max_hold=2.0), RELATIVE)
    first = estimator.update(predicted(), points(), CAMERA, 0)
    early = estimator.update(predicted(), None, CAMERA, seconds(0.5))
    late = estimator.update(predicted(), None, CAMERA, seconds(2.0))
    gone = estimator.update(predicted(), None, CAMERA, seconds(2.1))
    assert [f.state for f in (early, late, gone)] == [State.HELD, State.HELD, State.UNANCHORED]
    assert early.stamp_ns == late.stamp_ns == 0
    assert first.covariance[0, 0] < early.covariance[0, 0] < late.covariance[0, 0]
    assert 'last fit is 2.1 s old' in gone.reason


def test_time_running_backwards_starts_afresh():
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    estimator.update(predicted(), points(), CAMERA, seconds(10))
    fit = estimator.update(predicted(), None, CAMERA, seconds(9))
    assert fit.state is State.UNANCHORED
    assert 'time ran backwards' in fit.reason


def test_normalisation_that_drifts_is_followed():
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    for i in range(40):
        scale = 0.5 * 1.02**i  # doubles in 35 frames
        fit = estimator.update(predicted(scale), points(seed=i), CAMERA, seconds(0.1 * i))
        assert fit.state is State.FITTED
        assert fit.scale == pytest.approx(scale, rel=0.04)


def test_a_network_that_jumps_is_followed_while_the_anchors_stand_still():
    # A small network's normalisation may jump by a factor from one image to the next.
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    for i, scale in enumerate((0.5, 1.5, 0.4, 2.0)):
        image = picture(0, 0.05 * i)
        fit = estimator.update(predicted(scale), points(seed=i), CAMERA, seconds(i / 10), image)
        assert fit.state is State.FITTED
        assert fit.scale == pytest.approx(scale, rel=0.03)


def test_anchors_that_move_are_rejected_even_when_the_network_jumps_along():
    # The line stays what it was, since prediction and anchors are stretched alike.
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    estimator.update(predicted(), points(), CAMERA, 0, picture(0))
    moved = estimator.update(
        predicted() / 1.2, points(1.2, seed=1), CAMERA, seconds(0.1), picture(0)
    )
    assert moved.state is State.HELD and 'moved by 2' in moved.reason  # 20 %, give or take noise
    back = estimator.update(predicted(), points(seed=2), CAMERA, seconds(0.2), picture(0))
    assert back.state is State.FITTED


def depth_error(prediction: torch.Tensor, fit, truth: torch.Tensor = TRUE_INVERSE) -> float:
    return float(((fit.scale * prediction + fit.shift) / truth - 1).abs().median())


def test_what_is_published_is_the_frames_own_line():
    # A mixture of two good lines is a bad one: scale and shift err together.
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    for i in range(10):
        prediction = predicted(0.5 + 0.01 * i, 0.01 - 0.002 * i)
        anchors = points(seed=i)
        own = fit_line(sample(prediction, anchors).double().numpy(), 1 / anchors.z_m)
        fit = estimator.update(prediction, anchors, CAMERA, seconds(i / 10), picture(0, 0.05 * i))
        assert (fit.scale, fit.shift) == (own.scale, own.shift)
        np.testing.assert_array_equal(fit.covariance, own.covariance)


@pytest.mark.parametrize('factor', [2.0, 0.4])
def test_held_depth_does_not_jump_with_the_network(factor):
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    for i in range(5):
        estimator.update(predicted(), points(seed=i), CAMERA, seconds(i / 10), picture(0))
    for i in range(5, 20):
        jumped = factor * predicted() + 0.2
        fit = estimator.update(jumped, None, CAMERA, seconds(i / 10), picture(0))
        assert fit.state is State.HELD
        assert depth_error(jumped, fit) < 0.02


def test_a_held_line_stays_while_a_steady_network_sees_a_wall_come_closer():
    # 3 % closer from frame to frame: carrying the line along would freeze the wall.
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    for i in range(15):
        closer = TRUE_INVERSE * 1.03**i
        anchors = points(1.03**-i, seed=i) if i < 5 else None
        fit = estimator.update(
            (closer - 0.01) / 0.5, anchors, CAMERA, seconds(i / 10), picture(0, 0.02 * i)
        )
    assert fit.state is State.HELD
    assert depth_error((closer - 0.01) / 0.5, fit, closer) < 0.02


@pytest.mark.parametrize('count', [8, 15])
def test_few_anchors_of_a_network_that_normalises_anew_are_no_less_right(count):
    rng = np.random.default_rng(0)
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    estimator.update(predicted(), points(), CAMERA, 0, picture(0))
    for i in range(1, 30):
        prediction = predicted(0.5 * math.exp(0.4 * rng.normal()), 0.01 * rng.normal())
        anchors = points(count=count, seed=i)
        fit = estimator.update(prediction, anchors, CAMERA, seconds(i / 10), picture(0, 0.05 * i))
        assert fit.state is State.FITTED
        assert depth_error(prediction, fit) < 0.06


def driven(stretches: dict[float, float | None], end_s: float, hz: float = 10.0) -> dict:
    """Drive past one scene and return time -> state.

    Args:
        stretches: time -> factor on all anchors' depths from then on, None for no sweep.
        end_s: of the drive.
        hz: frames a second.
    """
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    states = {}
    for i in range(round(end_s * hz)):
        t = i / hz
        stretch = stretches[max(start for start in stretches if start <= t + 1e-6)]
        anchors = None if stretch is None else points(stretch, seed=i)
        fit = estimator.update(predicted(), anchors, CAMERA, seconds(t), picture(0, 0.05 * i))
        states[round(t, 3)] = fit.state
    return states


def test_a_wrong_extrinsic_is_refused_for_five_seconds_and_not_for_ever():
    states = driven({0.0: 1.0, 3.0: 1.25}, 14.0)
    assert {s for t, s in states.items() if t < 3} == {State.FITTED}
    assert State.FITTED not in {s for t, s in states.items() if 3 <= t < 8}
    # Nothing in the sweeps tells which half of the drive was the wrong one.
    assert {s for t, s in states.items() if t >= 13} == {State.FITTED}


@pytest.mark.parametrize('wrong_s', [0.1, 0.3])
def test_a_wrong_start_is_believed_for_no_longer_than_it_lasted(wrong_s):
    # As many sweeps that agree with each other outvote it, and one more sweep.
    states = driven({0.0: 1.3, wrong_s: 1.0}, 2.0)
    assert {s for t, s in states.items() if t > 2 * wrong_s + 0.05} == {State.FITTED}


def test_a_line_held_over_a_turn_is_doubted():
    # Most of what is seen is new: sigma says so, and does not while the image stands still.
    doubts = []
    for seen in (picture(0), picture(0, 4.0)):
        estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
        estimator.update(predicted(), points(), CAMERA, 0, picture(0))
        fit = estimator.update(predicted(), None, CAMERA, seconds(1.0), seen)
        assert fit.state is State.HELD
        doubts.append(math.sqrt(fit.covariance[0, 0]) / fit.scale)
    assert doubts[0] < 0.1 < doubts[1]


def test_a_gap_does_not_make_sweeps_young_that_were_believed_before_it():
    states = driven({0.0: 1.0, 2.0: None, 3.5: 1.0, 3.6: 1.3}, 6.0)
    assert State.FITTED not in {s for t, s in states.items() if t >= 3.6}


@pytest.mark.parametrize('factors', [(1.3, 1.3, 1.3), (1.3, 0.7, 1.5), (0.8, 1.15, 1.3)])
def test_three_disturbed_sweeps_cost_three_frames(factors):
    disturbed = {2.0 + i / 10: factor for i, factor in enumerate(factors)}
    states = driven({0.0: 1.0, **disturbed, 2.3: 1.0}, 4.0)
    assert {s for t, s in states.items() if t < 2 or t >= 2.3} == {State.FITTED}
    assert states[2.0] is State.HELD


def test_a_wrong_sweep_before_a_gap_is_forgotten():
    states = driven({0.0: 1.0, 2.0: 1.3, 2.1: None, 3.3: 1.0}, 5.0)
    assert {s for t, s in states.items() if t >= 3.3} == {State.FITTED}


@pytest.mark.parametrize(
    ('gap_s', 'ratio'), [(0.6, 1.3), (0.95, 1.4), (0.95, 0.7)], ids=['away', 'slowly', 'towards']
)
def test_a_scene_that_moved_during_a_gap_is_no_wrong_extrinsic(gap_s, ratio):
    # Away from a wall, or towards it: everything is farther when the sweeps are back.
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    estimator.update(predicted(), points(), CAMERA, 0, picture(0))
    for i in range(1, 7):
        t = seconds(gap_s * i / 6)
        farther = predicted() / ratio ** (i / 6)
        anchors = points(ratio, seed=1) if i == 6 else None
        fit = estimator.update(farther, anchors, CAMERA, t, picture(0, 0.1 * i))
    assert fit.state is State.FITTED


@pytest.mark.parametrize('period_s', [0.5, 0.95])
def test_slow_sweeps_in_a_room_are_believed(period_s):
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    for i in range(8):
        nearness = math.exp(0.14 * math.sin(2.0 * i))  # up to 27 % from one sweep to the next
        fit = estimator.update(
            predicted() * nearness, points(1 / nearness, seed=i), CAMERA,
            seconds(i * period_s), picture(0, 0.2 * i),
        )
        assert fit.state is State.FITTED, (i, fit.reason)


def small_object() -> tuple[torch.Tensor, Anchors]:
    """Return a prediction and 20 anchors on a box of 4x5 pixels, beside which 1/z = p - 0.5 < 0."""
    prediction = torch.full((HEIGHT, WIDTH), 0.3)
    v, u = (x.flatten() for x in torch.meshgrid(torch.arange(50.0, 55), torch.arange(71.0, 75),
                                                indexing='ij'))
    prediction[50:55, 71:75] = torch.linspace(0.6, 0.9, 20).reshape(5, 4)
    z = 1 / (prediction[v.long(), u.long()] - 0.5)
    return prediction, Anchors(*(x.numpy() for x in (u, v, z, torch.zeros(20).long())))


def test_a_line_that_is_positive_on_one_small_object_alone_is_a_line():
    prediction, anchors = small_object()
    fit = ScaleEstimator(ScaleConfig(), RELATIVE).update(prediction, anchors, CAMERA, 0)
    assert fit.state is State.FITTED
    assert fit.scale == pytest.approx(1.0, rel=0.02) and fit.shift == pytest.approx(-0.5, rel=0.02)


def test_exposure_is_no_scene_cut():
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    estimator.update(predicted(), points(), CAMERA, 0, picture(0))
    fit = estimator.update(predicted(), None, CAMERA, 1, 0.3 * picture(0) + 2.0)
    assert fit.state is State.HELD


def test_a_scene_cut_drops_the_held_fit_and_takes_the_next_one():
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    estimator.update(predicted(), points(), CAMERA, 0, picture(0))
    cut = estimator.update(predicted(1.5), None, CAMERA, seconds(0.1), picture(1))
    assert cut.state is State.UNANCHORED
    assert 'scene cut' in cut.reason
    fit = estimator.update(predicted(1.5), points(), CAMERA, seconds(0.2), picture(1, 0.2))
    assert fit.state is State.FITTED
    assert fit.scale == pytest.approx(1.5, rel=0.02)


def test_a_drive_tells_the_truth_throughout():
    """Drive 60 s at 10 Hz.

    Lidar is out from 10 to 20 s, its extrinsic is 20 % wrong from 30 to 35 s, and at 45 s the
    scene is cut. Whatever is published as metres must be metres.
    """
    estimator = ScaleEstimator(ScaleConfig(), RELATIVE)
    states: dict[float, State] = {}
    inside = pixels = 0
    for i in range(600):
        t = i / 10
        cut = t >= 45
        # The network re-normalises slowly all the time, and at the cut at once.
        scale = (1.4 if cut else 0.5) * (1 + 0.3 * math.sin(t / 6))
        anchors = points(1.2 if 30 <= t < 35 else 1.0, seed=i)
        image = picture(1 if cut else 0, 0.05 * i)
        prediction = predicted(scale)
        lidar = None if 10 <= t < 20 else anchors
        fit = estimator.update(prediction, lidar, CAMERA, seconds(t), image)
        states[t] = fit.state
        if fit.state is State.UNANCHORED or i % 4:
            continue
        metric = metric_depth(prediction, fit, lidar, Config())
        error = metric.depth_m * TRUE_INVERSE - 1
        known = error.isfinite()
        assert float(error[known].abs().median()) < 0.08, (t, fit.reason)
        doubt = 1.645 * metric.stddev_m * TRUE_INVERSE
        inside += int((error.abs() <= doubt)[known].sum())
        pixels += int(known.sum())
    assert inside / pixels > 0.9

    def seen(start: float, end: float) -> set[State]:
        return {state for t, state in states.items() if start <= t < end}

    assert seen(0, 10) == {State.FITTED}
    assert seen(10, 11.9) == {State.HELD}
    assert seen(12, 20) == {State.UNANCHORED}
    assert seen(20, 30) == {State.FITTED}
    assert seen(30, 31.9) == {State.HELD}
    assert seen(32, 35) == {State.UNANCHORED}
    assert seen(35, 45) == {State.FITTED}
    assert seen(45, 60) == {State.FITTED}
