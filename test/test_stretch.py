# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stretching gives the same numbers on a CPU as it does on a card."""

from fake_card import fake_cards
import numpy as np
import pytest
import torch

from depth_anything_ros.stretch import enlarged, stretched


@pytest.mark.parametrize('size', [(3, 4), (12, 8), (31, 7), (5, 23)])
def test_cpu_and_card_interpolate_alike(size):
    planes = torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(0))
    here = stretched(planes, *size)
    with fake_cards(), torch.inference_mode():
        there = stretched(planes.to(torch.device('cuda', 1)), *size).cpu()
    assert here.shape == (2, *size)
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-5)


def test_half_a_pixel_is_half_a_pixel_at_either_size():
    # Twice as wide, the centres of 0 and 1 lie at .5 and 2.5; beyond the outermost all is level.
    row = torch.tensor([[[0.0, 1.0]]])
    np.testing.assert_allclose(stretched(row, 1, 4)[0, 0], [0, 0.25, 0.75, 1], atol=1e-6)


def test_a_part_of_a_plane_is_stretched_as_if_it_were_alone():
    planes = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(1))
    part = planes[1:, ::2, 1:6]
    np.testing.assert_array_equal(stretched(part, 7, 7), stretched(part.contiguous(), 7, 7))


@pytest.mark.parametrize(('factor', 'size'), [(4.0, (23, 32)), (3.7, (22, 29)), (1.0, (6, 8))])
def test_cpu_and_card_enlarge_alike_by_the_factor_itself(factor, size):
    # A ramp shows where a pixel looks: the centre of column u is at (u + .5) / factor - .5.
    ramp = torch.arange(8.0).expand(2, 6, 8).contiguous()
    expected = np.clip((np.arange(size[1]) + 0.5) / factor - 0.5, 0, 7)
    with fake_cards(), torch.inference_mode():
        on_card = ramp.to(torch.device('cuda', 1))
        there = [plane.cpu().numpy() for plane in enlarged(on_card, factor, *size)]
    for planes in (there, [plane.numpy() for plane in enlarged(ramp, factor, *size)]):
        assert [plane.shape for plane in planes] == [size, size]
        np.testing.assert_allclose(planes[1][3], expected, atol=1e-5)
