# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Lines between fits: by inverse variance, from both sides, and never across a cut."""

from __future__ import annotations

from dataclasses import replace
import math

import numpy as np
import pytest

from depth_anything_ros.metric_depth.scale import PassRecord, ScaleFit, State, unanchored
from depth_anything_ros.metric_depth.smoothing import gaps, smooth

POOLED = np.linspace(0.2, 1.0, 100)
SIGMA = 0.02


def seconds(t: float) -> int:
    return round(t * 1e9)


def fitted(scale, t, sigma=SIGMA, shift=0.0):
    """Return a fit whose log depth has this standard deviation, at any depth."""
    covariance = np.array([[(sigma * scale) ** 2, 0.0], [0.0, 0.0]])
    return ScaleFit(
        State.FITTED, 'lidar', 'inverse_depth', scale, shift, covariance, 99, 0.05, seconds(t), ''
    )


def record(t, fit=None, pooled=POOLED, change=0.0, restarted=False):
    fit = fit or unanchored('inverse_depth', seconds(t), 'no anchors')
    return PassRecord(np.asarray(pooled, dtype=float), change, restarted, seconds(t), fit)


def steady(scales, times=range(11), sigmas=(SIGMA, SIGMA)):
    """Return records of a prediction that stays, with a fit at either end."""
    ends = {times[0]: (scales[0], sigmas[0]), times[-1]: (scales[1], sigmas[1])}
    return [record(t, fitted(ends[t][0], t, ends[t][1]) if t in ends else None) for t in times]


def relative(fit):
    return math.sqrt(fit.covariance[0, 0]) / fit.scale


def test_two_fits_are_merged_by_inverse_variance():
    fits = smooth(steady((1.0, 2.0)), 2.0)
    # Each arrives at the other off by 2 (2 - 1) / (2 + 1), so much in 10 s: per second a tenth of
    # the square. After 2 s the variances are .0004 + 2 q and .0004 + 8 q.
    q = (2 / 3) ** 2 / 10
    before, after = SIGMA**2 + 2 * q, SIGMA**2 + 8 * q
    share = before / (before + after)
    assert fits[2].scale == pytest.approx(2**share, rel=1e-6)
    assert fits[5].scale == pytest.approx(math.sqrt(2), rel=1e-6)
    assert fits[8].scale == pytest.approx(2 ** (1 - share), rel=1e-6)
    assert relative(fits[2]) == pytest.approx(math.sqrt(1 / (1 / before + 1 / after)), rel=1e-6)
    assert [fit.state for fit in fits] == [State.FITTED, *[State.HELD] * 9, State.FITTED]
    assert fits[2].reason == 'smoothed between fits 2.0 s before and 8.0 s after'


def test_it_is_what_least_squares_over_all_images_say():
    # A random walk of log scale seen at both ends, solved as one system of equations.
    sigmas = (0.01, 0.2)
    fits = smooth(steady((1.0, 1.2), sigmas=sigmas), 2.0)
    q = max((2 * 0.2 / 2.2) ** 2 / 10, 0.05**2)
    steps = np.diff(np.eye(11), axis=0) / math.sqrt(q)
    seen = np.eye(11)[[0, 10]] / np.array(sigmas)[:, None]
    A = np.concatenate([steps, seen])
    b = np.concatenate([np.zeros(10), np.log([1.0, 1.2]) / sigmas])
    log_scale, covariance = np.linalg.lstsq(A, b, rcond=None)[0], np.linalg.inv(A.T @ A)
    for n in range(1, 10):
        # The ends are fits that are not touched, so only what lies between is compared.
        assert math.log(fits[n].scale) == pytest.approx(log_scale[n], abs=1e-6), n
        assert relative(fits[n]) == pytest.approx(math.sqrt(covariance[n, n]), rel=1e-6), n


def test_it_is_least_sure_in_the_middle():
    sigma = [relative(fit) for fit in smooth(steady((1.0, 1.1)), 2.0)]
    assert all(np.diff(sigma[1:6]) > 0) and all(np.diff(sigma[5:10]) < 0)
    # Nothing drifts less than .05 per square root of a second: half way 5 s from either side.
    assert sigma[5] == pytest.approx(math.sqrt((SIGMA**2 + 5 * 0.05**2) / 2), rel=1e-6)


def test_fits_stay_and_nothing_else_is_asked_for():
    records = steady((1.0, 2.0))
    ranged = replace(fitted(1.3, 4.0), state=State.HELD, method='lidar+range')
    records[4] = replace(records[4], fit=ranged)
    fits = smooth(records, 2.0)
    assert fits[0] is records[0].fit and fits[10] is records[10].fit
    assert fits[4] is ranged
    assert smooth([], 2.0) == []


@pytest.mark.parametrize('cut', [5, 10])
def test_nothing_is_carried_across_a_cut(cut):
    records = steady((1.0, 2.0))
    records[cut] = replace(records[cut], restarted=True, change=0.9)
    fits = smooth(records, 2.5)
    for n in range(1, 10):
        if n < cut or n < 8:
            assert fits[n] is records[n].fit, n
        else:
            assert fits[n].state is State.HELD and fits[n].scale == pytest.approx(2.0)
            assert fits[n].reason == f'held from a fit {10 - n}.0 s after'


def test_a_network_that_renormalises_in_the_gap_keeps_depth():
    records = steady((1.0, 0.5))
    records[6:] = [replace(r, pooled=2 * POOLED) for r in records[6:]]
    for r, fit in zip(records, smooth(records, 2.0)):
        np.testing.assert_allclose(fit.scale * r.pooled + fit.shift, POOLED, rtol=1e-6)


def test_a_shift_that_the_network_adds_is_taken_away():
    records = steady((1.0, 1.0))
    records[10] = replace(records[10], fit=fitted(1.0, 10, shift=-0.3))
    records[4:] = [replace(r, pooled=POOLED + 0.3) for r in records[4:]]
    for r, fit in zip(records, smooth(records, 2.0)):
        np.testing.assert_allclose(fit.scale * r.pooled + fit.shift, POOLED, rtol=1e-5)


def drive(seed):
    """Return records of a scene that changes, with fits now and then."""
    rng = np.random.default_rng(seed)
    inverse, records = POOLED.copy(), []
    for n in range(30):
        inverse = inverse * np.exp(0.02 * rng.normal(size=100) + 0.03 * rng.normal())
        scale = math.exp(0.3 * rng.normal())
        fit = fitted(scale, n, 0.02 + 0.05 * rng.random()) if n in (3, 4, 12, 26) else None
        records.append(record(n, fit, inverse / scale, change=0.02 * rng.random()))
    return records


def test_time_that_runs_the_other_way_gives_the_same():
    records = drive(1)
    changes = [r.change for r in records]
    mirrored = [
        replace(r, stamp_ns=seconds(29 - n), change=changes[n + 1] if n < 29 else 0.0)
        for n, r in enumerate(records)
    ][::-1]
    forward, backward = smooth(records, 2.0), smooth(mirrored, 2.0)[::-1]
    for n in range(4, 27):
        assert forward[n].scale == pytest.approx(backward[n].scale, rel=1e-9), n
        np.testing.assert_allclose(forward[n].covariance, backward[n].covariance, rtol=1e-9)


def test_the_fits_before_and_after_bridge_better_than_one():
    # Everything comes nearer by 5 % a second; a line that is held keeps depth where it was.
    truth = [POOLED * math.exp(0.05 * n) for n in range(21)]
    scales = np.exp(0.5 * np.random.default_rng(0).normal(size=21))
    records = [
        record(n, fitted(scales[n], n) if n in (0, 20) else None, truth[n] / scales[n])
        for n in range(21)
    ]
    for n, fit in enumerate(smooth(records, 2.0)):
        off = np.log((fit.scale * records[n].pooled + fit.shift) / truth[n])
        # A step of under 5 % may be taken for motion, by which the line stays; held on from the
        # first fit it would be off by 1.0 in the end.
        assert np.abs(off).max() < 0.1, n


def test_depth_that_is_predicted_is_merged_the_same():
    records = [
        replace(r, fit=replace(r.fit, space='depth')) for r in steady((1.0, 2.0))
    ]
    assert smooth(records, 2.0)[5].scale == pytest.approx(math.sqrt(2), rel=1e-6)


def test_backwards_the_image_changes_as_much_as_forwards():
    records = [record(0), record(1, fitted(2.0, 1), change=0.2), record(2, change=0.5)]
    before = smooth(records, 2.0)[0]
    # .02 of an image, .05 of a second, .3 of a change: what LineTrack says of a line that is held.
    sigma = math.hypot(SIGMA, 0.02, 0.05, 0.3 * 0.2)
    assert relative(before) == pytest.approx(sigma, rel=1e-6)
    assert before.reason == 'held from a fit 1.0 s after'


def test_a_gap_may_be_too_long():
    records = [record(0, fitted(1.0, 0)), record(16), record(31, fitted(1.0, 31))]
    assert smooth(records, 2.0)[1] is records[1].fit
    records = [record(0, fitted(1.0, 0)), record(16), record(29, fitted(1.0, 29))]
    assert smooth(records, 2.0)[1].state is State.HELD


def test_gaps_have_their_fits_at_the_ends():
    with_fit = {2, 3, 6}
    records = [record(n, fitted(1.0, n) if n in with_fit else None) for n in range(9)]
    assert gaps(records) == [range(0, 3), range(3, 7), range(6, 9)]
    records[5] = replace(records[5], restarted=True)
    assert gaps(records) == [range(0, 3), range(3, 5), range(5, 7), range(6, 9)]
    assert gaps([record(n) for n in range(4)]) == []
    assert gaps([record(n, fitted(1.0, n)) for n in range(4)]) == []
    assert gaps([]) == []
