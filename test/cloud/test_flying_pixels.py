# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Flying pixels: what hangs in the air between two surfaces, and what only looks like it."""

import cv2
import numpy as np
import pytest
import torch

from depth_anything_ros.cloud.flying_pixels import flying_pixels, without_flying


def test_flying_pixels_are_left_out_of_depth():
    ramp = torch.tensor([2.0] * 10 + [2.4, 3.0, 4.0] + [5.0] * 11).expand(16, 24)
    solid = without_flying(ramp, 0.05)
    np.testing.assert_array_equal(torch.isnan(solid), flying_pixels(ramp, 0.05))
    assert torch.isnan(solid).any() and solid[3, 2] == 2.0
    assert without_flying(ramp, 0.0) is ramp


def test_a_steep_plane_has_no_flying_pixels():
    # Ground seen from 1.5 m with f = 100: 1/z = (v - v0) / 150, up to 25 % per pixel near v0.
    inverse = ((torch.arange(48.0) - 20) / 150)[:, None].expand(48, 32)
    depth_m = torch.where(inverse > 0.02, 1 / inverse, torch.nan)
    visible = depth_m[30:]
    assert not flying_pixels(visible, 0.05).any()


def test_a_ramp_between_two_walls_is_masked_and_the_walls_are_not():
    ramp = torch.tensor([0.5] * 10 + [0.425, 0.35, 0.275] + [0.2] * 11)  # 2 m, ramp, 5 m
    flying = flying_pixels((1 / ramp).expand(16, 24), 0.05)
    assert flying[:, 10:13].all()
    assert not flying[:, :8].any() and not flying[:, 15:].any()


def test_threshold_zero_marks_nothing():
    ramp = torch.tensor([1.0] * 8 + [5.0] + [9.0] * 8).expand(8, 17)
    assert flying_pixels(ramp, 0.05).any() and not flying_pixels(ramp, 0.0).any()


def soft_edge(near: np.ndarray, sigma_px: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return depth of walls 2 m and 6 m away, drawn softly, and whether a pixel is of neither."""
    inverse = np.where(near, 1 / 2, 1 / 6).astype(np.float32)
    depth_m = torch.from_numpy(1 / cv2.GaussianBlur(inverse, (0, 0), sigma_px))
    return depth_m, (depth_m > 2 * 1.1) & (depth_m < 6 / 1.1)


@pytest.mark.parametrize('sigma_px', [1, 3, 5])
@pytest.mark.parametrize('size', [(120, 160), (241, 319), (480, 640)])
@pytest.mark.parametrize('shape', ['upright', 'slanted', 'round'])
def test_soft_edges_leave_no_flying_pixels_and_keep_the_walls(sigma_px, size, shape):
    height, width = size
    v, u = np.mgrid[:height, :width]
    near = {
        'upright': u < 0.47 * width,
        'slanted': u + 0.7 * v < 0.7 * width,
        'round': np.hypot(u - width / 2, v - height / 2) < height / 4,
    }[shape]
    depth_m, neither = soft_edge(near, sigma_px)
    flying = flying_pixels(depth_m, 0.05)
    assert (neither & ~flying).sum() <= 0.05 * neither.sum()
    wall = (depth_m < 2 * 1.02) | (depth_m > 6 / 1.02)
    assert (wall & flying).sum() <= 0.02 * wall.sum()


def test_edges_are_as_soft_as_the_pixels_of_the_network_are_large():
    # A network of 160x120 for an image of 640x480: its edges of 3 pixels are 12 wide here.
    near = np.arange(640) < 300
    depth_m, neither = soft_edge(np.broadcast_to(near, (480, 640)), 12.0)
    assert (neither & ~flying_pixels(depth_m, 0.05, network_px=4.0)).sum() < 0.05 * neither.sum()


def test_a_sharp_edge_and_thin_posts_lose_nothing():
    near = np.arange(160) % 40 < 3
    near[80:] = True
    depth_m = torch.from_numpy(np.where(near, 2.0, 6.0).astype(np.float32)).expand(120, 160)
    assert not flying_pixels(depth_m, 0.05).any()
    assert not flying_pixels(depth_m.T, 0.05).any()


def test_grazing_ground_that_meets_a_wall_is_kept():
    # Ground 0.5 m below a lens of 520 px, up to a wall at 8 m.
    inverse = ((torch.arange(240.0) - 60) / (520 * 0.5)).clamp(min=1 / 8)
    assert not flying_pixels((1 / inverse)[:, None].expand(240, 320), 0.05, 2.0).any()


def test_a_corridor_is_kept():
    # Two walls that meet at an edge of 12 m: inverse depth falls and rises again.
    inverse = 1 / 12 + (torch.arange(320.0) - 160).abs() / 320
    assert not flying_pixels((1 / inverse).expand(240, 320), 0.05, 2.0).any()
