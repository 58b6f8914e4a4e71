# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metric depth: validity, refinement, trust in the network, standard deviation."""

from __future__ import annotations

from dataclasses import replace
import math

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve
import torch
import torch.nn.functional as F

from depth_anything_ros.config import Config, with_values
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.membrane import Grid, solve_membrane
from depth_anything_ros.metric_depth.refinement import folds, metric_depth, refine
from depth_anything_ros.metric_depth.scale import ScaleFit, State
from depth_anything_ros.metric_depth.uncertainty import CERTAIN, of_detail, OffsetDoubt
from depth_anything_ros.stretch import enlarged

HEIGHT, WIDTH = 120, 160
V, U = torch.meshgrid(torch.arange(float(HEIGHT)), torch.arange(float(WIDTH)), indexing='ij')
TRUE_INVERSE = 0.02 + 0.3 * V / HEIGHT  # a plane, 50 m to 3 m
FIT = ScaleFit(
    State.FITTED, 'lidar', 'inverse_depth', 0.5, 0.0, np.zeros((2, 2)), 100, 0.05, 0, 'test'
)


def ringed(inverse: torch.Tensor, rings: int, noise: float = 0.0, seed: int = 0) -> Anchors:
    """Return every second pixel of evenly spaced rows as anchors."""
    rows = torch.linspace(6, HEIGHT - 7, rings).round()
    columns = torch.arange(0.0, WIDTH, 2)
    v, u = (x.flatten() for x in torch.meshgrid(rows, columns, indexing='ij'))
    ring = torch.arange(rings).repeat_interleave(len(columns))
    z = 1 / inverse[v.long(), u.long()]
    z = z * (1 + noise * torch.randn(len(z), generator=torch.Generator().manual_seed(seed)))
    return Anchors(*(x.numpy() for x in (u, v, z, ring)))


def mean_error(inverse: torch.Tensor, truth: torch.Tensor = TRUE_INVERSE) -> float:
    return float((truth / inverse - 1).abs().mean())


def test_without_anchors_it_is_the_line_and_nothing_else():
    prediction = 2 * TRUE_INVERSE
    metric = metric_depth(prediction, FIT, None, Config())
    torch.testing.assert_close(metric.depth_m, 1 / TRUE_INVERSE)
    # No covariance: the standard deviation is the residual's 5 % of the depth.
    torch.testing.assert_close(metric.stddev_m, 0.05 / TRUE_INVERSE)


def test_the_lines_covariance_shows_in_the_standard_deviation():
    # var(s p + t) = 0.01^2 p^2 + 0.02^2, relative to the line, beside a residual of zero.
    fit = replace(FIT, covariance=np.diag([0.01**2, 0.02**2]), residual=0.0)
    metric = metric_depth(torch.full((2, 2), 0.4), fit, None, Config())
    assert float(metric.depth_m[0, 0]) == pytest.approx(5.0)
    relative = math.sqrt(0.004**2 + 0.02**2) / 0.2
    assert float(metric.stddev_m[0, 0]) == pytest.approx(5.0 * relative)


@pytest.mark.parametrize('distance_m', [2.0, 0.5, 8.0])
def test_a_flat_wall_that_everything_agrees_on_is_a_wall(distance_m):
    # Exact binary fractions: the left-out errors are exactly zero.
    inverse = torch.full((HEIGHT, WIDTH), 1 / distance_m)
    metric = metric_depth(2 * inverse, FIT, ringed(inverse, 32), Config())
    torch.testing.assert_close(metric.depth_m, torch.full_like(inverse, distance_m))
    assert (metric.stddev_m > 0).all()
    assert (metric.stddev_m[6:-6] < 0.02 * distance_m).all()
    assert (metric.stddev_m < 0.06 * distance_m).all()  # below the last ring nothing was tested


def test_what_is_too_far_too_near_or_behind_infinity_is_nan_never_a_wall():
    fit = replace(FIT, scale=1.0)
    prediction = torch.tensor([[-0.1, 0.0, 1 / 100, 1 / 79, 1 / 2, 20.0, torch.nan]])
    metric = metric_depth(prediction, fit, None, Config())
    valid = [False, False, False, True, True, False, False]
    assert metric.depth_m.isfinite()[0].tolist() == valid
    assert metric.stddev_m.isfinite()[0].tolist() == valid


def test_a_depth_network_uses_its_line_directly():
    fit = replace(FIT, space='depth', scale=2.0, shift=0.5)
    metric = metric_depth(torch.tensor([[3.0, -1.0]]), fit, None, Config())
    assert float(metric.depth_m[0, 0]) == pytest.approx(6.5)
    assert math.isnan(float(metric.depth_m[0, 1]))


def test_doubtful_pixels_are_dropped_on_request():
    config = with_values(Config(), {'scale.max_stddev': 0.5})
    metric = metric_depth(torch.tensor([[0.1, 1.0]]), FIT, None, config)  # 20 m and 2 m, 5 % each
    assert metric.depth_m.isfinite()[0].tolist() == [False, True]


@pytest.mark.parametrize('state', [State.HELD, State.UNANCHORED])
def test_anchors_that_the_fit_rejected_do_not_refine(state):
    # A wrong extrinsic: the estimator holds, and the refinement must not follow the anchors.
    fit = replace(FIT, state=state)
    metric = metric_depth(2 * TRUE_INVERSE, fit, ringed(TRUE_INVERSE / 1.2, 16), Config())
    torch.testing.assert_close(metric.depth_m, 1 / TRUE_INVERSE)


def test_refinement_can_be_switched_off():
    config = with_values(Config(), {'scale.refine': False})
    metric = metric_depth(2 * TRUE_INVERSE, FIT, ringed(TRUE_INVERSE / 1.2, 16), config)
    torch.testing.assert_close(metric.depth_m, 1 / TRUE_INVERSE)


def test_a_smooth_error_of_the_network_is_corrected():
    bias = torch.exp(0.3 * torch.sin(U / 30) * torch.cos(V / 40))
    inverse, _ = refine(TRUE_INVERSE * bias, ringed(TRUE_INVERSE, 16))
    assert mean_error(TRUE_INVERSE * bias) > 0.1
    assert mean_error(inverse) < 0.015


def test_a_right_network_is_trusted_between_few_rings():
    # A box between the rings that only the network sees.
    truth = TRUE_INVERSE.clone()
    truth[44:62, 60:100] = 0.3
    inverse, _ = refine(truth * 1.1, ringed(truth, 6))
    box = (slice(48, 58), slice(66, 94))
    assert float((truth / inverse - 1)[box].abs().mean()) < 0.1


def test_a_wrong_network_is_not_trusted():
    noise = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    inverse, _ = refine(TRUE_INVERSE * (0.3 + 1.4 * noise), ringed(TRUE_INVERSE, 16))
    middle = slice(10, HEIGHT - 10)
    assert mean_error(inverse[middle], TRUE_INVERSE[middle]) < 0.03


def test_sky_stays_sky_over_a_corrected_scene():
    prior = TRUE_INVERSE.clone()
    prior[:30] = 0.0
    anchors = ringed(TRUE_INVERSE * 0.9, 16)
    metric = metric_depth(2 * prior, FIT, anchors[anchors.v > 40], Config())
    assert not metric.depth_m[:24].isfinite().any()
    assert metric.depth_m[45:].isfinite().all()


@pytest.mark.parametrize('sky_m', [45.0, 70.0, 78.0])
def test_what_the_network_calls_farther_than_every_anchor_is_not_dragged_nearer(sky_m):
    # A rough network's sky is not at infinity; what stands below it ends at 22 m.
    prior = TRUE_INVERSE.clone()
    prior[:30] = 1 / sky_m
    anchors = ringed(TRUE_INVERSE * 0.9, 16)  # the network is 10 % too near throughout
    metric = metric_depth(2 * prior, FIT, anchors[anchors.v > 40], Config())
    sky = metric.depth_m[:24]
    np.testing.assert_allclose(sky, np.where(sky_m / 0.9 <= 80, sky_m / 0.9, np.nan), rtol=0.01)
    assert metric.depth_m[45:].isfinite().all()


def test_gross_outliers_hardly_move_it():
    anchors = ringed(TRUE_INVERSE, 16)
    generator = torch.Generator().manual_seed(1)
    wrong = torch.rand(len(anchors), generator=generator) < 0.15
    z = 2 * 30 ** torch.rand(len(anchors), generator=generator)
    z = np.where(wrong, z, anchors.z_m)
    inverse, _ = refine(TRUE_INVERSE * 1.05, replace(anchors, z_m=z))
    assert mean_error(inverse) < 0.03


@pytest.mark.parametrize('row', [30, 60, 90])
@pytest.mark.parametrize('wavelength_px', [10, 40])
def test_one_planar_ring_never_makes_it_worse(row, wavelength_px):
    # The network errs along the ring, where the lidar knows better, but it alone sees the ground.
    prior = TRUE_INVERSE * torch.exp(0.3 * torch.sin(U / wavelength_px + V / 15))
    anchors = ringed(TRUE_INVERSE, 1)
    anchors = replace(anchors, v=np.full_like(anchors.v, row))
    anchors = replace(anchors, z_m=1 / TRUE_INVERSE[row, anchors.u.astype(int)].numpy())
    inverse, _ = refine(prior, anchors)
    assert mean_error(inverse) < mean_error(prior)
    on_ring = (slice(row, row + 1), slice(4, -4))
    assert mean_error(inverse[on_ring], TRUE_INVERSE[on_ring]) < 0.05


def disturbed(anchors: Anchors, share: float, low_m: float, high_m: float, seed: int) -> Anchors:
    """Put a share of the anchors anywhere between two depths, but never behind what is there."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(anchors), generator=generator) < share
    z = low_m * (high_m / low_m) ** torch.rand(len(anchors), generator=generator)
    return replace(anchors, z_m=np.where(wrong, z, anchors.z_m))


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(
    ('share', 'low_m', 'high_m'),
    [(0.5, 2.0, 60.0), (0.4, 0.6, 2.5)],
    ids=['uniform outliers', 'veil of dust'],
)
@pytest.mark.parametrize('factor', [1.0, 1.05])
def test_what_no_neighbour_confirms_does_not_come_back(share, low_m, high_m, factor, seed):
    anchors = disturbed(ringed(TRUE_INVERSE, 16), share, low_m, high_m, seed)
    inverse, _ = refine(TRUE_INVERSE * factor, anchors)
    assert mean_error(inverse) < 0.015


@pytest.mark.parametrize('seed', range(3))
def test_dust_at_one_depth_does_not_outvote_a_rough_network(seed):
    # 40 % of the points at 2.0 to 2.4 m, before a plane of which the network is off by 7 % here
    # and there: each grain has as many neighbours alike as the plane's points have.
    rough = torch.randn(1, 1, 8, 10, generator=torch.Generator().manual_seed(seed))
    rough = F.interpolate(rough, (HEIGHT, WIDTH), mode='bicubic')[0, 0]
    dusty = disturbed(ringed(TRUE_INVERSE, 16), 0.4, 2.0, 2.4, seed)
    inverse, _ = refine(TRUE_INVERSE * torch.exp(0.1 * rough), dusty)
    assert mean_error(inverse) < 0.03


@pytest.mark.parametrize('noise', [0.003, 0.03])
@pytest.mark.parametrize(
    ('share', 'low_m', 'high_m'),
    [(0.0, 1.0, 1.0), (0.5, 2.0, 60.0), (0.4, 2.0, 2.4)],
    ids=['noise alone', 'uniform outliers', 'dust at one depth'],
)
def test_an_exact_line_is_not_refined_by_what_is_the_sensors_own(share, low_m, high_m, noise):
    anchors = disturbed(ringed(TRUE_INVERSE, 16, noise), share, low_m, high_m, seed=5)
    inverse, sigma = refine(TRUE_INVERSE, anchors)
    assert float((TRUE_INVERSE / inverse - 1).abs().median()) < 0.002
    assert ((TRUE_INVERSE / inverse).log().abs() <= 1.645 * sigma).float().mean() > 0.9


@pytest.mark.parametrize('box_m', [2.0, 8.0])
def test_anchors_of_one_depth_do_not_overrule_what_the_network_sees_of_others(box_m):
    # A wall at 4 m, of which the lidar knows better than a network with 2 % of noise, and beside
    # its points a box that it does not see.
    truth = torch.full((HEIGHT, WIDTH), 1 / 4.0)
    truth[:, 80:] = 1 / box_m
    noise = torch.randn(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    anchors = ringed(truth, 24)
    inverse, _ = refine(truth * (1 + 0.02 * noise), anchors[anchors.u < 70])
    assert mean_error(inverse[:, 90:], truth[:, 90:]) < 0.05


def test_a_post_that_the_network_sees_and_a_box_that_it_does_not_are_kept():
    truth = TRUE_INVERSE.clone()
    truth[10:110, 40:44] = 0.4  # two columns of anchors
    noise = torch.randn(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    prior = truth * (1 + 0.03 * noise)
    truth[30:60, 100:130] = 0.5
    inverse, _ = refine(prior, ringed(truth, 24))
    post, box = (slice(15, 105), slice(41, 43)), (slice(36, 54), slice(108, 122))
    assert float((truth / inverse - 1)[post].abs().mean()) < 0.05
    assert float((truth / inverse - 1)[box].abs().mean()) < 0.05


def test_anchors_of_which_none_has_a_witness_refine_nothing():
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    z = torch.logspace(-0.3, 1.9, 60)[order]
    u = torch.linspace(5, 150, 60)
    anchors = Anchors(*(x.numpy() for x in (u, torch.full_like(u, 60), z, torch.zeros(60).long())))
    noise = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    assert refine(noise, anchors) is None


def test_the_interval_covers_what_it_claims():
    bias = torch.exp(0.1 * torch.sin(U / 9) * torch.sin(V / 7))
    inverse, sigma = refine(TRUE_INVERSE * bias, ringed(TRUE_INVERSE, 24, noise=0.02))
    covered = (inverse / TRUE_INVERSE).log().abs() <= 1.645 * sigma
    inside = float(covered[6:-6].float().mean())
    assert 0.85 <= inside <= 0.985  # what is left out errs by its own noise too


def test_it_is_less_sure_far_from_anchors():
    bias = torch.exp(0.1 * torch.sin(U / 9) * torch.sin(V / 7))
    anchors = ringed(TRUE_INVERSE, 16, noise=0.01)
    _, sigma = refine(TRUE_INVERSE * bias, anchors[anchors.u < 80])
    assert float(sigma[:, 140:].mean()) > 1.5 * float(sigma[:, :80].mean())


def test_too_few_anchors_are_not_judged():
    anchors = ringed(TRUE_INVERSE, 2)
    assert refine(TRUE_INVERSE, anchors[np.arange(10)]) is None
    one_spot = anchors[(anchors.ring == 0) & (anchors.u < 8)]
    many = Anchors(*(np.tile(x, 10) for x in (one_spot.u, one_spot.v, one_spot.z_m, one_spot.ring)))
    assert refine(TRUE_INVERSE, many) is None


def test_the_same_input_gives_the_same_output():
    anchors = ringed(TRUE_INVERSE, 8)
    first, second = (refine(TRUE_INVERSE * 1.1, anchors) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_whole_rings_share_a_fold():
    anchors = ringed(TRUE_INVERSE, 8)
    fold = folds(anchors, HEIGHT, WIDTH)
    for ring in range(8):
        assert len(np.unique(fold[anchors.ring == ring])) == 1
    assert np.unique(fold).tolist() == [0, 1, 2, 3]


def test_one_ring_and_unknown_rings_are_divided_by_place():
    one = ringed(TRUE_INVERSE, 1)
    by_column = folds(one, HEIGHT, WIDTH)
    assert np.unique(by_column).tolist() == [0, 1, 2, 3]
    assert by_column[one.u == 0].tolist() != by_column[one.u == 20].tolist()
    unknown = ringed(TRUE_INVERSE, 16)
    unknown = replace(unknown, ring=np.full_like(unknown.ring, -1))
    by_row = folds(unknown, HEIGHT, WIDTH)
    assert len(np.unique(by_row[unknown.v == 6])) == 1
    assert len(np.unique(by_row)) == 4


def test_a_membrane_is_straight_between_two_lines_and_level_outside():
    weight = torch.zeros(1, 64, 64)
    weight[:, 16], weight[:, 48] = 1e4, 1e4
    value = torch.zeros(1, 64, 64)
    value[:, 16], value[:, 48] = 1.0, 3.0
    field = solve_membrane(torch.stack([weight, weight * value]), 1.0)[0, 0]
    expected = torch.lerp(torch.tensor(1.0), torch.tensor(3.0), (torch.arange(64) - 16) / 32)
    torch.testing.assert_close(field[:, 30], expected.clamp(1, 3), atol=0.12, rtol=0)


def test_membranes_solve_their_equations_each_with_its_own_weights():
    # Against sparse elimination of (weight + stiffness * Laplacian) f = weight * value.
    rows, columns, stiffness = 48, 64, 0.04
    random = np.random.default_rng(5)
    weight = (random.random((2, rows, columns)) < [[[0.08]], [[0.2]]]).astype(float)
    v, u = np.mgrid[:rows, :columns] / rows
    value = np.stack([1 + u + v * v, np.sin(3 * u) - v, 2 - u])[:, None]
    sums = np.concatenate([weight[None], weight * value]).astype(np.float32)
    fields = solve_membrane(torch.from_numpy(sums), stiffness).numpy()
    beside = [
        sparse.diags_array([1.0, 1.0], offsets=[-1, 1], shape=(n, n)) for n in (rows, columns)
    ]
    links = sparse.kron(beside[0], sparse.eye_array(columns))
    links += sparse.kron(sparse.eye_array(rows), beside[1])
    laplacian = sparse.diags_array(links.sum(axis=1)) - links
    for group, pull in enumerate(weight):
        matrix = (sparse.diags_array(pull.ravel()) + stiffness * laplacian).tocsc()
        for given, found in zip(sums[1:, group], fields[:, group]):
            expected = spsolve(matrix, given.ravel().astype(float)).reshape(rows, columns)
            assert np.abs(found - expected).mean() < 0.02
            assert np.abs(found - expected).max() < 0.15


def test_splat_and_sample_are_at_the_same_place():
    grid = Grid.over(96, 128, 96 * 128 // 16)
    assert grid.cell_px == 4.0
    u, v = np.array([5.5, 5.5]), np.array([9.5, 9.5])
    group = np.array([0, 2])
    cells = torch.from_numpy(grid.cells(u, v) + group * grid.rows * grid.columns)
    sums = grid.splat(cells, torch.tensor([[2.0, 3.0]]), 3)
    assert sums.shape == (1, 3, grid.rows, grid.columns) and float(sums.sum()) == 5.0
    assert float(sums[0, 0, 2, 1]) == 2.0  # pixels 8..11 and 4..7
    assert float(sums[0, 2, 2, 1]) == 3.0
    places = torch.from_numpy(grid.places(u, v, group, 3))
    assert grid.sample(sums, places).tolist() == [[pytest.approx(2.0), pytest.approx(3.0)]]
    (full,) = enlarged(sums[:, 0], grid.cell_px, 96, 128)
    expected = torch.nn.functional.interpolate(sums[:, 0][None], scale_factor=4, mode='bilinear')
    torch.testing.assert_close(full, expected[0, 0, :96, :128])


def test_beyond_the_border_of_a_grid_lies_its_border_and_not_the_next_grid():
    grid = Grid.over(64, 64, 16 * 16)
    field = torch.zeros(1, 2, grid.rows, grid.columns)
    field[0, 0], field[0, 1] = 1.0, 5.0
    u, v = np.array([3.0, 3.0]), np.array([63.4, -0.4])
    places = torch.from_numpy(grid.places(u, v, np.array([0, 1]), 2))
    assert grid.sample(field, places).tolist() == [[1.0, 5.0]]


def wall_behind_ground() -> torch.Tensor:
    """Return inverse depth of a wall 10 m away above row 40, and of ground before it to 3 m."""
    return torch.where(V < 40, 0.1, 0.1 + 0.003 * (V - 40))


def test_below_the_rings_the_network_goes_on_and_above_them_what_stands_upright():
    # The network has the ground right and leans the wall back: up the image it is ever farther,
    # though not as far as the end of the street beside it.
    street = U > 140
    truth = torch.where(street, 0.025, wall_behind_ground())
    network = torch.where((V < 40) & ~street, 0.1 + 0.0015 * (V - 40), truth)
    anchors = ringed(truth, 20)
    inverse, _ = refine(network, anchors[(anchors.v > 20) & (anchors.v < 90)])
    top, bottom = (slice(0, 10), slice(0, 110)), (slice(105, HEIGHT), slice(0, 110))
    assert mean_error(network[top], truth[top]) > 0.5
    assert mean_error(inverse[top], truth[top]) < 0.1
    assert mean_error(inverse[bottom], truth[bottom]) < 0.01


def test_a_network_that_foresees_the_upper_rings_is_believed_above_them():
    truth = 0.05 + 0.1 * torch.exp(-((U - 80) ** 2 + (V - 30) ** 2) / 800) + 0.2 * V / HEIGHT
    anchors = ringed(truth, 20)
    inverse, _ = refine(truth * 1.2, anchors[anchors.v > 40])
    assert mean_error(inverse[:30], truth[:30]) < 0.03


def test_the_interval_covers_above_and_below_the_rings():
    # Networks whose error wanders over the image, as a random walk does.
    truth = wall_behind_ground()
    anchors = ringed(truth, 24)
    anchors = anchors[(anchors.v > 25) & (anchors.v < 85)]
    covered = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        steps = 0.15 * torch.randn(1, 1, 6, 8, generator=generator)
        bias = torch.nn.functional.interpolate(steps, (HEIGHT, WIDTH), mode='bicubic')[0, 0].exp()
        inverse, sigma = refine(truth * bias, anchors)
        covered.append((inverse / truth).log().abs() <= 1.645 * sigma)
        assert float(sigma[:20].median()) > 3 * float(sigma[40:80].median())
    share = torch.stack(covered).float().mean(dim=(0, 2))
    assert 0.8 < float(share[:20].mean()) and 0.8 < float(share[90:].mean())


def test_one_ring_says_little_of_other_rows():
    truth = wall_behind_ground()
    anchors = ringed(truth, 24)
    network = truth * torch.exp(0.2 * torch.sin(U / 9) * torch.cos(V / 30))
    inverse, sigma = refine(network, anchors[anchors.ring == 10])
    error = (inverse / truth).log().abs()
    assert float((error <= 1.645 * sigma).float().mean()) > 0.8
    on_ring, foot = 51, 115
    assert float(sigma[foot].median()) > 4 * float(sigma[on_ring].median())


def test_a_detail_is_as_unsure_as_the_offset_of_its_line():
    # Anchors at 4 m, a detail at 2 m. For inverse depth dt = .1 with ds so that the anchors stay
    # put: (1/.5 - 1/.25) * .1 = .2; for depth dt = .4: (1/2 - 1/4) * .4 = .1. Half trusted: half.
    said, at_anchors = torch.tensor([0.5, torch.nan]), torch.tensor([0.25, 0.25])
    none = torch.tensor(0.0)
    for trust in (1.0, 0.5):
        for doubt, expected in (
            (OffsetDoubt(0.1, 'inverse_depth'), 0.2),
            (OffsetDoubt(0.4, 'depth'), 0.1),
        ):
            sigma = of_detail(said, at_anchors, torch.tensor(trust), none, doubt)
            assert sigma.tolist() == pytest.approx([trust * expected, 0.0])
    # A trust of which nothing is known, evenly 0 or 1, has .5 log(2) of that detail.
    sigma = of_detail(said, at_anchors, torch.tensor(0.5), torch.tensor(0.5), CERTAIN)
    assert sigma.tolist() == pytest.approx([0.5 * math.log(2), 0.0])


def test_the_offset_is_what_is_left_of_a_line_without_its_size():
    # s and t grown by 10 %: no offset. t alone off by .02: that.
    line = np.array([0.5, 0.1])
    grown = replace(FIT, shift=0.1, covariance=0.01 * np.outer(line, line))
    assert OffsetDoubt.of(grown).sigma == pytest.approx(0.0, abs=1e-9)
    shifted = replace(FIT, shift=0.1, covariance=np.diag([0.0, 0.02**2]))
    assert OffsetDoubt.of(shifted).sigma == pytest.approx(0.02)


@pytest.mark.parametrize('space', ['inverse_depth', 'depth'])
def test_a_box_beside_anchors_of_one_depth_is_within_the_interval(space):
    # Anchors on a wall at 4 m alone: how much of what the network sees beside it is true, they
    # cannot tell.
    depth = torch.full((HEIGHT, WIDTH), 4.0)
    depth[:, 80:] = 2.0
    anchors = ringed(1 / depth, 12)
    anchors = anchors[anchors.u < 70]
    fit = replace(FIT, space=space, scale=1.0, residual=0.0)
    prediction = 1 / depth if space == 'inverse_depth' else depth
    metric = metric_depth(prediction, fit, anchors, Config())
    sigma, error = metric.stddev_m / metric.depth_m, (metric.depth_m / depth).log().abs()
    box, wall = (slice(30, 90), slice(90, 120)), (slice(30, 90), slice(10, 60))
    assert float((error[box] <= 1.645 * sigma[box]).float().mean()) > 0.9
    assert float(sigma[wall].max()) < 0.02
