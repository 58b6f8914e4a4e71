# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms against numbers worked out by hand."""

import math

import numpy as np
import pytest

from depth_anything_ros.poses import interpolate, matrix_to_pose, pose_to_matrix

HALF_TURN_ABOUT_Z = [[-1, 0, 0, 1], [0, -1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]


def test_half_a_turn_about_z_by_hand_both_ways():
    pose = (1.0, 2.0, 3.0, 0.0, 0.0, 1.0, 0.0)
    np.testing.assert_allclose(pose_to_matrix(pose), HALF_TURN_ABOUT_Z, atol=1e-12)
    np.testing.assert_allclose(matrix_to_pose(pose_to_matrix(pose)), pose, atol=1e-12)


def test_a_quaternion_is_normalised_and_a_zero_one_refused():
    doubled = (1.0, 2.0, 3.0, 0.0, 0.0, 2.0, 0.0)
    np.testing.assert_allclose(pose_to_matrix(doubled), HALF_TURN_ABOUT_Z, atol=1e-12)
    with pytest.raises(ValueError, match='zero norm'):
        pose_to_matrix((0.0,) * 7)


def test_interpolated_poses_turn_and_move_evenly():
    end = np.eye(4)
    end[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]  # 90 degrees about z
    end[:3, 3] = [2.0, 0.0, 0.0]
    poses = interpolate(np.eye(4), end, np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(poses[0], np.eye(4), atol=1e-12)
    np.testing.assert_allclose(poses[2], end, atol=1e-12)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(poses[1][:2, :2], [[half, -half], [half, half]], atol=1e-12)
    np.testing.assert_allclose(poses[1][:3, 3], [1.0, 0.0, 0.0])


def test_beyond_its_ends_the_motion_goes_on():
    end = np.eye(4)
    end[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]  # 90 degrees about y
    end[1, 3] = 1.0
    (beyond,) = interpolate(np.eye(4), end, np.array([2.0]))
    half_turn_about_y = [[-1, 0, 0, 0], [0, 1, 0, 2], [0, 0, -1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(beyond, half_turn_about_y, atol=1e-12)


def test_no_motion_between_equal_poses():
    pose = pose_to_matrix((1.0, 2.0, 3.0, 0.5, -0.5, 0.5, 0.5))
    np.testing.assert_allclose(interpolate(pose, pose, np.array([0.3]))[0], pose, atol=1e-12)
