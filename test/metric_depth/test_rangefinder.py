# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A rangefinder corrects the scale of a line that it cannot determine, and never the state."""

from dataclasses import replace
import math

import numpy as np
import pytest
from scipy.optimize import minimize
from sensor_msgs.msg import Range

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.rangefinder import correct, RangeReading
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.pipeline import DepthPipeline
from depth_anything_ros.ros.ranges import decode_range
from helpers import (
    ExactPredictor,
    SCENE_CAMERA,
    scene_depth,
    scene_depth_image,
    scene_image,
    scene_lidar,
    SCENE_T_CAMERA_LIDAR,
)

CAMERA = Camera.from_calibration(640, 480, [[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]])
LATTICE = (96, 128)
FORWARD = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # x ahead
LINE, COVARIANCE = np.array([1.0, 0.0]), np.diag(np.square([0.15, 0.3]))


def wall(depth_m):
    return np.full(LATTICE, float(depth_m))


@pytest.mark.parametrize('fov', [0.0, 0.05, 0.4])
@pytest.mark.parametrize('true_m', [3.4, 4.0, 4.7])
def test_the_correction_is_the_most_likely_line(true_m, fov):
    # The network says 4 m. The nearest point of a wall is straight ahead, whatever the cone.
    reading = RangeReading(true_m, fov, FORWARD)
    (scale, shift), _ = correct(LINE, COVARIANCE, reading, wall(4.0), 'depth', CAMERA)

    def unlikely(line):
        prior = (line - LINE) @ np.linalg.inv(COVARIANCE) @ (line - LINE)
        return prior + (math.log((4 * line[0] + line[1]) / true_m) / 0.1) ** 2

    best = minimize(unlikely, LINE, method='Nelder-Mead', options={'xatol': 1e-6}).x
    assert 4 * scale + shift == pytest.approx(4 * best[0] + best[1], rel=0.02)
    assert scale == pytest.approx(best[0], abs=0.02) and shift == pytest.approx(best[1], abs=0.03)


@pytest.mark.parametrize(('true_m', 'says'), [(2.0, '-50%'), (8.0, '+100%')])
def test_a_range_that_contradicts_the_line_is_left_out(true_m, says):
    # Beyond three sigmas of the checkpoint (.17 at 4 m) and of the range (.1) together.
    reading = RangeReading(true_m, 0.0, FORWARD)
    answer = correct(LINE, COVARIANCE, reading, wall(4.0), 'depth', CAMERA)
    assert answer == f'the range says {says} in depth against it and is left out'


@pytest.mark.parametrize('space', ['depth', 'inverse_depth'])
@pytest.mark.parametrize('factor', [0.85, 1.0, 1.15])
def test_a_line_that_is_sure_of_its_shift_takes_the_scale_of_the_range(space, factor):
    target = 5.0 if space == 'depth' else 0.2
    seen = wall(target)
    line, covariance = np.array([factor, 0.0]), np.diag([0.5**2, 1e-12])
    (scale, shift), after = correct(
        line, covariance, RangeReading(5.0, 0.1, FORWARD), seen, space, CAMERA
    )
    assert scale == pytest.approx(1.0, rel=0.02) and shift == pytest.approx(0.0, abs=1e-6)
    # 1 / (1 / (.5 / factor)^2 + 1 / .1^2), relative to the line.
    assert math.sqrt(after[0, 0]) == pytest.approx(
        factor / math.sqrt((factor / 0.5) ** 2 + 100), rel=1e-6
    )


def test_the_nearest_thing_in_the_cone_is_what_is_heard():
    seen = wall(8.0)
    seen[40:60, 60:70] = 3.0  # a post in the middle
    covariance = np.diag([0.3**2, 1e-12])
    wide = correct(LINE, covariance, RangeReading(3.0, 0.5, FORWARD), seen, 'depth', CAMERA)
    assert wide[0][0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ('T', 'expected'),
    [
        (np.diag([1.0, 1, 1, 1]), 'not within what the image shows'),  # looks along x, to the right
        (FORWARD @ np.diag([-1.0, -1, 1, 1]), 'not within what the image shows'),  # back
    ],
)
def test_a_sensor_that_looks_elsewhere_says_nothing(T, expected):
    reading = RangeReading(4.0, 0.2, T)
    assert expected in correct(LINE, COVARIANCE, reading, wall(4.0), 'depth', CAMERA)


def test_a_sensor_beside_the_camera_is_where_it_is():
    # 1 m behind and .2 m left: the wall at 4 m is 5 m from it.
    T = FORWARD.copy()
    T[:3, 3] = (-0.2, 0.0, -1.0)
    covariance = np.diag([0.3**2, 1e-12])
    line, _ = correct(LINE, covariance, RangeReading(5.0, 0.1, T), wall(4.0), 'depth', CAMERA)
    assert line[0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize('seen', [wall(np.nan), wall(0.0), wall(-1.0)])
def test_a_prediction_of_nothing_is_not_corrected(seen):
    reading = RangeReading(4.0, 0.2, FORWARD)
    assert isinstance(correct(LINE, COVARIANCE, reading, seen, 'depth', CAMERA), str)


class Metric(ExactPredictor):
    """A metric checkpoint that is 20 % too far."""

    def __init__(self):
        super().__init__(scale=1.0, shift=0.0)
        self.spec = replace(self.spec, space='depth', metric=True)

    def __call__(self, image):
        return 1.2 / super().__call__(image)


# The wall straight ahead of the scene's camera, 18 m; the box to the right, 6 m.
AHEAD_M = float(scene_depth(0.0, 0.0))


def process(pipeline, ranging, stamp_ns=0, **others):
    return pipeline.process(
        scene_image(), SCENE_CAMERA, ranging=ranging, stamp_ns=stamp_ns, **others
    )


def test_a_metric_checkpoint_is_corrected_and_stays_metric():
    reading = RangeReading(AHEAD_M, 0.02, FORWARD)
    truth_m = scene_depth_image()
    before = process(DepthPipeline(Metric()), None)
    frame = process(DepthPipeline(Metric()), reading)
    assert (frame.fit.state, frame.fit.method) == (State.METRIC, 'checkpoint+range')
    assert '18.00 m' in frame.fit.reason
    assert frame.sigma < before.sigma
    off = [np.nanmedian(np.abs(f.depth / truth_m - 1)) for f in (before, frame)]
    assert off[0] == pytest.approx(0.2, abs=0.01) and off[1] < 0.08


def test_a_range_alone_is_no_fit():
    frame = process(DepthPipeline(ExactPredictor()), RangeReading(AHEAD_M, 0.02, FORWARD))
    assert frame.fit.state is State.UNANCHORED and frame.depth is None
    assert 'a range alone tells no shift' in frame.fit.reason


def test_a_held_fit_is_corrected_and_ends_when_it_would_have_ended():
    pipeline = DepthPipeline(ExactPredictor())
    xyz_m, ring = scene_lidar()
    sweep = SensorPoints(xyz_m, 0, 'lidar', ring=ring)
    fitted = process(pipeline, None, points=sweep, T_camera_sensor=SCENE_T_CAMERA_LIDAR)
    reading = RangeReading(AHEAD_M, 0.02, FORWARD)
    held = process(pipeline, reading, stamp_ns=1_000_000_000)
    late = process(pipeline, reading, stamp_ns=2_500_000_000)
    assert fitted.fit.method == 'lidar'
    assert (held.fit.state, held.fit.method) == (State.HELD, 'lidar+range')
    assert late.fit.state is State.UNANCHORED


def test_anchors_need_no_range_and_method_may_exclude_it():
    xyz_m, ring = scene_lidar()
    sweep = SensorPoints(xyz_m, 0, 'lidar', ring=ring)
    wrong = RangeReading(3.0, 0.02, FORWARD)
    with_lidar = process(
        DepthPipeline(ExactPredictor()), wrong, points=sweep, T_camera_sensor=SCENE_T_CAMERA_LIDAR
    )
    assert with_lidar.fit.method == 'lidar'
    assert with_lidar.fit.scale == pytest.approx(0.4, rel=2e-3)
    config = with_values(Config(), {'scale.method': 'lidar'})
    assert process(DepthPipeline(Metric(), config), wrong).fit.method == 'checkpoint'


# Messages


def message(**changes):
    values = {'range': 3.0, 'field_of_view': 0.2, 'min_range': 0.1, 'max_range': 6.0, **changes}
    return Range(**values)


def test_a_range_is_what_it_says():
    echo = decode_range(message())
    assert echo.range_m == 3.0 and echo.field_of_view_rad == pytest.approx(0.2)


@pytest.mark.parametrize('reading', [math.inf, -math.inf, 6.0, 7.0, 0.1, 0.05, 0.0, -1.0])
def test_nothing_in_reach_is_nothing_heard(reading):
    assert decode_range(message(range=reading)).range_m is None


@pytest.mark.parametrize(
    'changes',
    [
        {'range': math.nan},
        {'field_of_view': math.nan},
        {'field_of_view': -0.1},
        {'field_of_view': 4.0},
        {'min_range': 7.0},
        {'max_range': math.nan},
        {'min_range': -1.0},
    ],
)
def test_what_is_no_range_is_one_line(changes):
    with pytest.raises(BadFrameError, match='its driver must fill in') as raised:
        decode_range(message(**changes))
    assert raised.value.reason == 'bad_range' and '\n' not in str(raised.value)
