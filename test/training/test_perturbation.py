# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Strong perturbations: how much they change, seen in the pictures, and where chance comes from.

A picture of three parts tells what was done to it. Brightness and contrast multiply the difference
of its two greys, saturation that of the coloured part's channels besides, hue turns that part, and
the edge between the greys shows the blur. Nothing in it reaches 0 or 1.
"""

from __future__ import annotations

import colorsys
from pathlib import Path
import random
import subprocess
import sys

import numpy as np
from numpy.typing import NDArray
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.stats import kstest, uniform
import torch
from torch import Tensor

from depth_anything_ros.training.perturbation import cut_boxes, strong_colours

ROOT = Path(__file__).resolve().parents[2]
LOW, HIGH, COLOUR = 0.30, 0.36, (0.34, 0.30, 0.28)  # RGB of the parts
SIDE = 18  # pixels of a part; a blur reaches 6
COUNT = 500


def seeded(seed: int) -> torch.Generator:
    """Return a generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def parts(count: int) -> Tensor:
    """Return so many pictures, low grey and high grey side by side over the coloured part."""
    picture = torch.empty(3, 2 * SIDE, 2 * SIDE)
    picture[:, :SIDE, :SIDE], picture[:, :SIDE, SIDE:] = LOW, HIGH
    picture[:, SIDE:] = torch.tensor(COLOUR)[:, None, None]
    return picture.repeat(count, 1, 1, 1)


@pytest.fixture(scope='module')
def seen() -> NDArray[np.float64]:
    """Return what strong_colours() makes of the picture of parts."""
    changed = strong_colours(parts(COUNT), seeded(0)).double().numpy()
    assert changed.shape == (COUNT, 3, 2 * SIDE, 2 * SIDE)
    assert 0 < changed.min() and changed.max() < 1  # else factors could not be told
    return changed


def differences(seen: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return the factors on the difference of the greys and of the channels, and the hue's turn."""
    row = SIDE // 2
    greys = (seen[:, 0, row, SIDE + row] - seen[:, 0, row, row]) / (HIGH - LOW)
    colour = seen[:, :, SIDE + row, SIDE]
    channels = np.ptp(colour, axis=1) / (max(COLOUR) - min(COLOUR))
    before = colorsys.rgb_to_hsv(*COLOUR)[0]
    turn = np.array([colorsys.rgb_to_hsv(*rgb)[0] - before for rgb in colour])
    return greys, channels, (turn + 0.5) % 1 - 0.5


def is_uniform(values: NDArray[np.float64], low: float, high: float) -> bool:
    """Say whether values lie in a range, up to rounding, and fill it evenly."""
    inside = low - 1e-3 < values.min() and values.max() < high + 1e-3
    return bool(inside and kstest(values, uniform(low, high - low).cdf).pvalue > 1e-3)


def test_brightness_of_four_fifths_of_the_pictures_is_between_half_and_one_and_a_half() -> None:
    # An even grey knows no contrast, saturation, hue or blur: only brightness changes it.
    grey = strong_colours(torch.full((COUNT, 3, 8, 8), 0.4), seeded(1))
    assert float((grey - grey[:, :1, :1, :1]).abs().max()) < 1e-5
    factor = grey[:, 0, 0, 0].double().numpy() / 0.4
    changed = factor[np.abs(factor - 1) > 1e-5]
    assert 0.74 < len(changed) / COUNT < 0.86
    assert is_uniform(changed, 0.5, 1.5)


def test_contrast_is_a_factor_on_differences_from_the_mean() -> None:
    # Of greys alone brightness multiplies mean and difference, contrast the difference.
    greys = parts(COUNT)[:, :, :SIDE]
    changed = strong_colours(greys, seeded(0)).double()[:, 0, SIDE // 2]
    low, high = changed[:, 0].numpy(), changed[:, -1].numpy()
    factor = (high - low) / (high + low) / ((HIGH - LOW) / (HIGH + LOW))
    changed = factor[np.abs(factor - 1) > 1e-3]
    assert 0.74 < len(changed) / COUNT < 0.86
    assert is_uniform(changed, 0.5, 1.5)


def test_saturation_is_a_factor_on_the_channels_difference_and_a_fifth_is_grey(
    seen: NDArray[np.float64]
) -> None:
    greys, channels, _ = differences(seen)
    grey = channels < 1e-3
    assert 0.14 < grey.mean() < 0.26
    factor = (channels / greys)[~grey]
    changed = factor[np.abs(factor - 1) > 1e-3]
    assert 0.74 < len(changed) / (~grey).sum() < 0.86
    assert is_uniform(changed, 0.5, 1.5)
    rest = np.abs(seen - seen.mean(axis=1, keepdims=True)).max(axis=(1, 2, 3))
    assert rest[grey].max() < 1e-6  # all of the picture
    ours = seen[~grey][:, :, :SIDE - 7]  # where no colour was blurred into the greys
    assert np.ptp(ours, axis=1).max() < 1e-5


def test_hue_turns_by_a_quarter_of_the_circle_at_most(seen: NDArray[np.float64]) -> None:
    _, channels, turn = differences(seen)
    turn = turn[channels > 1e-3]
    changed = turn[np.abs(turn) > 1e-3]
    assert 0.74 < len(changed) / len(turn) < 0.86
    assert is_uniform(changed, -0.25, 0.25)


def test_half_of_the_pictures_are_blurred_each_by_a_gaussian_of_its_own(
    seen: NDArray[np.float64]
) -> None:
    row = 3
    edge = seen[:, 0, row, SIDE - 7:SIDE + 7]  # from the low grey to the high one
    edge = (edge - edge[:, :1]) / (edge[:, -1:] - edge[:, :1])
    step = np.repeat([0.0, 1.0], 7)
    sigmas = np.linspace(0.05, 2.1, 411)
    table = np.array([gaussian_filter1d(step, s, radius=6, mode='nearest') for s in sigmas])
    nearest = np.abs(edge[:, None] - table).max(axis=2)
    assert nearest.min(axis=1).max() < 5e-3
    sigma_px = sigmas[nearest.argmin(axis=1)]
    blurred = sigma_px[sigma_px > 0.4]  # less shows too little: 1.6 / 1.9 of half
    assert 0.36 < len(blurred) / COUNT < 0.48
    assert blurred.max() < 2.006 and kstest(blurred, uniform(0.4, 1.6).cdf).pvalue > 1e-3


def test_strength_goes_from_the_picture_as_it_is_to_all_of_the_change() -> None:
    image = torch.rand(8, 3, 20, 24, generator=seeded(2))
    clean = image.clone()
    strong = strong_colours(image, seeded(3))
    assert torch.equal(image, clean)
    assert torch.equal(strong_colours(image, seeded(3), 0.0), clean)
    half = strong_colours(image, seeded(3), 0.5)
    assert float((half - (clean + strong) / 2).abs().max()) < 1e-6
    assert float((strong - clean).abs().max()) > 0.1


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_black_and_white_stay_within_0_and_1(value: float) -> None:
    image = torch.full((64, 3, 9, 9), value)
    image[:, 0, :4] = 1.0
    changed = strong_colours(image, seeded(4))
    assert bool(changed.isfinite().all()) and 0 <= changed.min() <= changed.max() <= 1


def test_all_chance_is_the_generators() -> None:
    image = torch.rand(6, 3, 20, 24, generator=seeded(5))

    def drawn(generator: torch.Generator) -> list[Tensor]:
        return [strong_colours(image, generator), strong_colours(image, generator, 0.5),
                cut_boxes(torch.Size([6, 20, 24]), 0.5, generator).float(),
                torch.rand(3, generator=generator)]

    torch.manual_seed(6)
    first = drawn(seeded(7))
    torch.manual_seed(8)
    random.seed(8)
    np.random.seed(8)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    again, other = drawn(seeded(7)), drawn(seeded(9))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not any(torch.equal(a, b) for a, b in zip(first, other))


def test_a_generator_goes_on_from_draw_to_draw() -> None:
    image = torch.rand(6, 3, 20, 24, generator=seeded(5))
    generator = seeded(7)
    assert not torch.equal(strong_colours(image, generator), strong_colours(image, generator))


def test_another_process_draws_the_same() -> None:
    program = ('import torch; torch.manual_seed(1); torch.rand(5)\n'
               'from depth_anything_ros.training.perturbation import cut_boxes, strong_colours\n'
               'g = torch.Generator().manual_seed(10)\n'
               'torch.set_num_threads(1)\n'
               'image = torch.linspace(0, 1, 4 * 3 * 70).view(4, 3, 7, 10)\n'
               'print(strong_colours(image, g).double().sum().item(),'
               ' cut_boxes(torch.Size([4, 30, 40]), 0.5, g).sum().item())')
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True,
                          cwd=ROOT, check=True)
    generator = seeded(10)
    image = torch.linspace(0, 1, 4 * 3 * 70).view(4, 3, 7, 10)
    assert done.stdout.split() == [
        str(strong_colours(image, generator).double().sum().item()),
        str(cut_boxes(torch.Size([4, 30, 40]), 0.5, generator).sum().item())]


def test_each_picture_has_its_own_draw() -> None:
    image = torch.rand(1, 3, 20, 24, generator=seeded(11)).repeat(32, 1, 1, 1)
    assert len(strong_colours(image, seeded(12)).flatten(1).unique(dim=0)) > 25
    assert len(cut_boxes(torch.Size([32, 40, 40]), 1.0, seeded(12)).flatten(1).unique(dim=0)) > 25


def test_bfloat16_does_not_coarsen_pictures() -> None:
    image = torch.rand(6, 3, 20, 24, generator=seeded(13))
    with torch.autocast('cpu', torch.bfloat16):
        inside = strong_colours(image, seeded(14))
        assert torch.is_autocast_enabled('cpu')
    assert inside.dtype == torch.float32
    assert torch.equal(inside, strong_colours(image, seeded(14)))
    assert len(inside.unique()) > 5000  # bfloat16 has some 1,000 values from .01 to 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_a_device_sees_the_same_pictures() -> None:
    image = torch.rand(6, 3, 20, 24, generator=seeded(15))
    before = torch.cuda.get_rng_state()
    there = strong_colours(image.cuda(), seeded(16))
    assert there.is_cuda and torch.equal(torch.cuda.get_rng_state(), before)
    assert float((there.cpu() - strong_colours(image, seeded(16))).abs().max()) < 1e-4


def test_boxes_of_cutmix_are_of_even_area_either_way_long_and_anywhere() -> None:
    side, count = 120, 1200
    cut = ~cut_boxes(torch.Size([count, side, side]), 0.5, seeded(17))
    rows, columns = (cut.any(dim=axis).sum(dim=1).double().numpy() for axis in (2, 1))
    is_cut = rows > 0
    assert 0.44 < is_cut.mean() < 0.56
    assert np.array_equal(rows * columns, cut.flatten(1).sum(dim=1).numpy())  # one full box each
    rows, columns = rows[is_cut], columns[is_cut]
    share = rows * columns / side**2
    assert 0.018 < share.min() < 0.03 and 0.38 < share.max() < 0.405
    # Up to .3 of the area no box is longer than the picture (.3 / .3 = 1).
    small = share < 0.295
    assert kstest(share[small], uniform(0.02, 0.275).cdf).pvalue > 1e-3
    ratio = (rows / columns)[small]
    assert 0.42 < (ratio > 1).mean() < 0.58
    assert 0.28 < ratio.min() < 0.4 and 2.5 < ratio.max() < 1 / 0.28
    top = cut.any(dim=2).double().argmax(dim=1).numpy()[is_cut]
    left = cut.any(dim=1).double().argmax(dim=1).numpy()[is_cut]
    for first, length in ((top, rows), (left, columns)):
        place = (first / (side - length + 1))[length < side / 2]
        assert kstest(place, uniform().cdf).pvalue > 1e-3
    assert not (~cut_boxes(torch.Size([20, 30, 40]), 0.0, seeded(18))).any()
    assert (~cut_boxes(torch.Size([20, 30, 40]), 1.0, seeded(18))).flatten(1).any(dim=1).all()
