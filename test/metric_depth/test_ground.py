# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scale from a known height above flat ground."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.metric_depth.fitting import LineFit
from depth_anything_ros.metric_depth.ground import fit_ground, GroundPlane
from depth_anything_ros.metric_depth.refinement import metric_depth
from depth_anything_ros.metric_depth.scale import ScaleEstimator
from depth_anything_ros.network.spec import ModelSpec

CAMERA = Camera(320, 240, np.array([[250.0, 0, 160], [0, 250.0, 120], [0, 0, 1]]))
SCALE, SHIFT = 0.3, -0.02


def street(plane: GroundPlane) -> np.ndarray:
    """Return inverse depth of ground, a wall 30 m ahead and a car that hides part of the road."""
    v, u = np.meshgrid(np.arange(240.0), np.arange(320.0), indexing='ij')
    inverse = plane.inverse_depth(CAMERA, u, v).clip(min=1 / 30)
    inverse[150:200, 40:120] = 1 / 5.0
    return inverse


def test_the_plane_is_where_geometry_says():
    # Level camera, 1.5 m up, 50 px below the horizon: z = f h / dv = 250 * 1.5 / 50.
    plane = GroundPlane.from_pitch(1.5, 0.0)
    inverse = plane.inverse_depth(CAMERA, np.array(10.0), np.array(170.0))
    assert 1 / float(inverse) == pytest.approx(7.5)
    # Tilted down by atan(50 / 250) the horizon is 50 px above the centre.
    tilted = GroundPlane.from_pitch(1.5, math.atan(0.2))
    horizon = tilted.inverse_depth(CAMERA, np.array(0.0), np.array(70.0))
    assert float(horizon) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize('pitch_rad', [0.0, 0.1])
def test_scale_and_shift_come_from_the_ground(pitch_rad):
    plane = GroundPlane.from_pitch(1.5, pitch_rad)
    fit = fit_ground((street(plane) - SHIFT) / SCALE, 'inverse_depth', CAMERA, plane)
    assert not fit.failure
    assert fit.scale == pytest.approx(SCALE, rel=0.01)
    assert fit.shift == pytest.approx(SHIFT, abs=0.002)


def test_a_depth_network_is_scaled_too():
    plane = GroundPlane.from_pitch(1.5, 0.05)
    fit = fit_ground(1 / street(plane) / 1.3, 'depth', CAMERA, plane)
    assert fit.scale == pytest.approx(1.3, rel=0.02)


def test_half_a_degree_of_pitch_costs_little_near_the_camera():
    plane = GroundPlane.from_pitch(1.5, 0.1)
    inverse = street(plane)
    wrong = GroundPlane.from_pitch(1.5, 0.1 + math.radians(0.5))
    fit = fit_ground((inverse - SHIFT) / SCALE, 'inverse_depth', CAMERA, wrong)
    assert fit.scale == pytest.approx(SCALE, rel=0.03)
    road = inverse[200:, 150:170]
    depth = 1 / (fit.scale * (road - SHIFT) / SCALE + fit.shift)
    assert float(np.median(np.abs(depth * road - 1))) < 0.05


@pytest.mark.parametrize('height_m', [0.0, -1.5, 1e-30, math.nan, math.inf])
def test_a_camera_that_is_not_above_the_ground_is_refused(height_m):
    # Under the plane everything is upside down: a ceiling would be fitted as the ground.
    plane = GroundPlane((0.0, math.cos(0.1), math.sin(0.1)), height_m)
    ceiling = street(GroundPlane.from_pitch(1.5, 0.1))[::-1]
    fit = fit_ground((ceiling - SHIFT) / SCALE, 'inverse_depth', CAMERA, plane)
    assert 'above the ground' in fit.failure and 'scale.ground_frame' in fit.failure


def test_looking_up_there_is_no_ground():
    plane = GroundPlane.from_pitch(1.5, -1.0)
    fit = fit_ground(np.random.default_rng(0).random((240, 320)), 'inverse_depth', CAMERA, plane)
    assert 'too little of the ground' in fit.failure


def test_a_wall_in_front_is_not_taken_for_ground():
    plane = GroundPlane.from_pitch(1.5, 0.1)
    fit = fit_ground(np.full((240, 320), 0.7), 'inverse_depth', CAMERA, plane)
    assert fit.failure.startswith('no ground found')


def log_sigma(fit: LineFit, depth_m: float) -> float:
    """Return the standard deviation of log depth where a network's line says this depth."""
    gradient = np.array([(1 / depth_m - fit.shift) / fit.scale, 1.0])
    return depth_m * math.sqrt(gradient @ fit.covariance @ gradient)


def tilted_street(error_rad: float, space: str = 'inverse_depth') -> np.ndarray:
    """Return what a network says of ground under a level camera that is thought tilted so far."""
    inverse = street(GroundPlane.from_pitch(1.5, -error_rad)).clip(min=1 / 40)
    return (inverse - SHIFT) / SCALE if space == 'inverse_depth' else 1 / inverse / 1.3


@pytest.mark.parametrize('space', ['inverse_depth', 'depth'])
def test_the_doubt_of_the_pitch_grows_with_depth(space):
    # Level camera 1.5 m up: 1/Z = (v - cy) / (f h), and a tilt of .02 rad adds .02 / h to it. That
    # is .02 Z / h of it: 4 % at 3 m, 10 % at 7.5 m.
    plane = GroundPlane.from_pitch(1.5, 0.0)
    sure = fit_ground(tilted_street(0.0, space), space, CAMERA, plane)
    unsure = fit_ground(tilted_street(0.0, space), space, CAMERA, plane, pitch_sigma_rad=0.02)
    assert unsure.scale == sure.scale and unsure.shift == sure.shift
    if space == 'inverse_depth':
        for depth_m, expected in ((3.0, 0.04), (7.5, 0.10)):
            added = log_sigma(unsure, depth_m) ** 2 - log_sigma(sure, depth_m) ** 2
            assert math.sqrt(added) == pytest.approx(expected, rel=0.02)
    else:  # over depth the change is no line; about right in the middle of the near ground
        p = 6.0 / 1.3
        gradient = np.array([p, 1.0]) / 6.0
        added = gradient @ (unsure.covariance - sure.covariance) @ gradient
        assert math.sqrt(added) == pytest.approx(0.08, rel=0.4)


def test_the_doubt_of_the_height_is_the_same_share_everywhere():
    plane = GroundPlane.from_pitch(1.5, 0.0)
    sure = fit_ground(tilted_street(0.0), 'inverse_depth', CAMERA, plane)
    unsure = fit_ground(tilted_street(0.0), 'inverse_depth', CAMERA, plane, height_sigma=0.05)
    for depth_m in (3.0, 7.5, 40.0):
        added = log_sigma(unsure, depth_m) ** 2 - log_sigma(sure, depth_m) ** 2
        assert math.sqrt(added) == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize('sign', [-1, 1])
@pytest.mark.parametrize('sigmas', [1, 2])
def test_a_wrong_pitch_stays_within_the_interval(sign, sigmas):
    # Thought level, in truth tilted by .02 or .04 rad: at 7.5 m the line says 1 / (1/7.5 + .0133),
    # 6.8 m, and so on. One sigma lies within the 90 % interval, two within the 99 % one only.
    error_rad = sign * sigmas * 0.02
    level = GroundPlane.from_pitch(1.5, 0.0)
    fit = fit_ground(
        tilted_street(error_rad), 'inverse_depth', CAMERA, level, pitch_sigma_rad=0.02
    )
    assert not fit.failure
    true_inverse = 1 / 7.5
    said = fit.scale * (true_inverse - SHIFT) / SCALE + fit.shift
    assert said == pytest.approx(true_inverse + error_rad / 1.5, rel=0.02)
    error_in_sigmas = abs(math.log(said / true_inverse)) / log_sigma(fit, 1 / said)
    assert error_in_sigmas < (1.645 if sigmas == 1 else 2.576)
    assert error_in_sigmas > 0.6 * sigmas


@pytest.mark.parametrize('pitch_sigma_rad', [0.0, 0.05])
def test_the_published_standard_deviation_knows_of_the_pitch(pitch_sigma_rad):
    config = with_values(
        Config(), {'scale.camera_height': 1.5, 'scale.camera_pitch_sigma': pitch_sigma_rad}
    )
    prediction = torch.from_numpy(tilted_street(0.0)).float()
    spec = ModelSpec('exact', 'inverse_depth', metric=False)
    fit = ScaleEstimator(config.scale, spec).update(prediction, None, CAMERA, 0)
    metric = metric_depth(prediction, fit, None, config)
    # Row 158 is 38 px below the horizon: 250 * 1.5 / 38 = 9.9 m, so .05 rad are 33 %.
    relative = float((metric.stddev_m / metric.depth_m)[158, 300])
    assert (relative > 0.3) == (pitch_sigma_rad > 0)
