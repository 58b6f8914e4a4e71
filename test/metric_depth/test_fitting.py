# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The robust line: accuracy under outliers, and every way in which points do not make a line."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.metric_depth.fitting import fit_line, Prior

SCALE, SHIFT = 0.02, 0.004


def made(seed: int, outliers: float, noise: float = 0.05, count: int = 2000):
    """Return predictions, noisy inverse depths and true depths, 2 to 60 m log-uniform."""
    rng = np.random.default_rng(seed)
    z = np.exp(rng.uniform(np.log(2), np.log(60), count))
    p = (1 / z - SHIFT) / SCALE
    seen = z * (1 + noise * rng.normal(size=count))
    wrong = rng.random(count) < outliers
    seen[wrong] = np.exp(rng.uniform(np.log(2), np.log(60), wrong.sum()))
    return p, 1 / seen, z


def depth_error(fit, p, z) -> float:
    return float(np.median(np.abs(1 / (fit.scale * p + fit.shift) / z - 1)))


def test_a_clean_line_is_recovered_exactly():
    p, y, _ = made(0, outliers=0.0, noise=0.0)
    fit = fit_line(p, y)
    assert not fit.failure
    assert fit.scale == pytest.approx(SCALE, rel=1e-3)
    assert fit.shift == pytest.approx(SHIFT, rel=1e-3)
    assert fit.inlier_ratio == 1.0


def test_thirty_percent_gross_outliers_cost_at_most_one_percent_in_99_of_100_seeds():
    bad = 0
    for seed in range(100):
        p, y, z = made(seed, outliers=0.3)
        fit = fit_line(p, y)
        bad += bool(fit.failure) or depth_error(fit, p, z) > 0.01
    assert bad <= 1


def test_with_half_outliers_it_is_right_or_says_that_it_is_not():
    for seed in range(50):
        p, y, z = made(seed, outliers=0.5)
        fit = fit_line(p, y)
        assert fit.failure or depth_error(fit, p, z) <= 0.03


@pytest.mark.parametrize('noise', [0.0, 0.05, 0.1])
@pytest.mark.parametrize('seed', range(3))
def test_dust_at_one_depth_is_not_what_the_network_sees(noise, seed):
    # A level line explains half of the points exactly; the others lie at all depths.
    exact, _, z = made(seed, outliers=0.0)
    rng = np.random.default_rng(seed)
    p = exact * np.exp(noise * rng.normal(size=len(z)))
    dust = (rng.random(len(z)) < 0.5) & (z > 2.5)
    dust_m = rng.uniform(2.0, 2.4, len(z))
    fit = fit_line(p, 1 / np.where(dust, dust_m, z))
    assert not fit.failure
    assert depth_error(fit, exact, z) < 0.03


def test_a_wall_before_a_network_that_sees_a_wall_is_level_among_outliers():
    rng = np.random.default_rng(0)
    z = rng.uniform(3.0, 3.1, 1000)
    seen = np.where(rng.random(1000) < 0.4, np.exp(rng.uniform(np.log(2), np.log(60), 1000)), z)
    p = (1 / z - SHIFT) / SCALE * (1 + 0.01 * rng.normal(size=1000))
    fit = fit_line(p, 1 / seen)
    assert not fit.failure
    assert depth_error(fit, p, z) < 0.02


def test_two_stories_of_equal_weight_are_no_fit():
    # Half of the points say that everything is 1.8 times as far.
    p, y, _ = made(3, outliers=0.0)
    y[::2] /= 1.8
    assert fit_line(p, y).failure


def test_pure_noise_is_no_fit():
    p, _, _ = made(4, outliers=0.0)
    _, y, _ = made(5, outliers=0.0)
    assert fit_line(p, y).failure


def test_the_same_points_give_the_same_fit():
    p, y, _ = made(6, outliers=0.3)
    first, second = fit_line(p, y), fit_line(p.copy(), y.copy())
    assert (first.scale, first.shift) == (second.scale, second.shift)


def test_the_floor_of_the_network_and_what_is_not_finite_stay_out():
    p, y, _ = made(7, outliers=0.0, noise=0.0)
    p[:500] = 0.0
    p[500:510] = np.nan
    y[510:520] = np.inf
    fit = fit_line(p, y)
    assert fit.scale == pytest.approx(SCALE, rel=1e-3)
    assert fit.inliers == 1480


def test_constant_prediction_solves_the_scale_alone():
    # A wall: all predictions alike. The shift stays near its prior and its uncertainty shows.
    p = np.full(200, 0.5)
    fit = fit_line(p, np.full(200, 0.1))
    assert not fit.failure
    assert fit.scale * 0.5 + fit.shift == pytest.approx(0.1, rel=1e-3)
    assert np.sqrt(fit.covariance[1, 1]) > 0.05  # about as unsure as before


def test_below_twenty_points_the_shift_is_not_touched():
    p = np.linspace(1.0, 2.0, 12)
    prior = Prior(None, 0.01, np.diag([0.0, 0.01**2]))
    fit = fit_line(p, 0.05 * p + 0.01, prior)
    assert not fit.failure
    assert fit.shift == 0.01
    assert fit.scale == pytest.approx(0.05, rel=1e-3)


def test_four_points_are_none():
    assert 'needed' in fit_line(np.linspace(1.0, 2.0, 4), np.linspace(2.0, 1.0, 4)).failure
    assert fit_line(np.zeros(0), np.zeros(0)).failure


def test_an_upside_down_prediction_is_never_followed():
    # Nearer is smaller, as if depth were taken for inverse depth, over a wide range.
    z = np.logspace(0.3, 1.8, 500)
    fit = fit_line(z, 1 / z)
    assert fit.failure or fit.scale > 0


def test_a_prior_decides_where_points_do_not():
    p = np.full(30, 2.0)
    prior = Prior(0.05, 0.02, np.diag([0.001, 0.001]) ** 2)
    fit = fit_line(p, np.full(30, 0.12), prior)
    assert fit.scale == pytest.approx(0.05, abs=1e-3)
    assert fit.shift == pytest.approx(0.02, abs=1e-3)
