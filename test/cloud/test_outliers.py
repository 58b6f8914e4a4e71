# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels without company."""

import torch

from depth_anything_ros.cloud.outliers import without_outliers


def kept(depth_m, radius_m):
    return torch.isfinite(without_outliers(depth_m, radius_m))


def test_a_lone_pixel_goes_and_a_line_stays():
    depth_m = torch.full((7, 9), 5.0)
    depth_m[3, 4] = 2.0
    depth_m[:, 0] = 3.0
    left = kept(depth_m, 0.1)
    assert not left[3, 4] and left.sum() == 60  # the ends of the line have one beside them
    assert not left[0, 0] and not left[6, 0]


def test_two_alone_go_and_three_in_a_corner_stay():
    depth_m = torch.full((6, 6), torch.nan)
    depth_m[1, 1] = depth_m[1, 2] = 4.0
    assert not kept(depth_m, 0.1).any()
    depth_m[2, 1] = 4.0
    assert kept(depth_m, 0.1).sum() == 3


def test_the_radius_is_in_metres_and_nothing_is_the_same_object_at_zero():
    depth_m = torch.full((5, 5), 5.0)
    depth_m[2, 2] = 5.2
    assert kept(depth_m, 0.3).all()
    assert not kept(depth_m, 0.1)[2, 2]
    assert without_outliers(depth_m, 0.0) is depth_m


def test_the_border_of_the_image_is_no_company():
    depth_m = torch.full((4, 4), torch.nan)
    depth_m[0, 0] = 1.0
    assert not kept(depth_m, 10.0).any()
