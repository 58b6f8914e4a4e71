# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scale from a known height above flat ground."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.ground import fit_ground, GroundPlane

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
