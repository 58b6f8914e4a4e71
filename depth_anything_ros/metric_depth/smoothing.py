# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The line of images without one of their own, from the fits before and after: for recordings.

A line that is carried from one prediction to the next drifts as the scene moves. Carried forwards
from the fit before and backwards from the fit after, it errs by opposite amounts; the two are
merged in log depth by their variances, which grow with time as a random walk's do (two-filter
smoother, Fraser and Potter 1969). How fast they grow is what the two miss each other's fit by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
import math

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.metric_depth.fitting import LineFit
from depth_anything_ros.metric_depth.scale import PassRecord, ScaleFit, State
from depth_anything_ros.metric_depth.temporal import (
    doubted,
    line_distance,
    line_through,
    LineTrack,
)

Array = NDArray[np.float64]

_LONGEST_GAP_S = 30.0  # beyond, a fit at either end says nothing of the middle
_DRIFT = 0.05  # log depth per square root of a second, at least
_LEAST_SIGMA = 0.003  # log depth, of a fit


@dataclass(frozen=True, eq=False)
class _Held:
    """A line that was carried to an image: scale and shift, its covariance, and from which fit."""

    line: Array
    covariance: Array
    source: int


def smooth(records: Sequence[PassRecord], max_hold_s: float) -> list[ScaleFit]:
    """Give images without a fit of their own a line from both sides.

    Fits stay what they are. Between two of them, at most 30 s apart, a line is HELD from both;
    before the first one it is held backwards as it would be forwards. Nothing is carried across a
    scene cut or a step back in time.

    Args:
        records: of all images of one camera, in the order in which they were measured.
        max_hold_s: how long a fit is held where there is none on the other side.

    Returns:
        The fit to use for each image.
    """
    return [
        fit
        for start, end in _scenes(records)
        for fit in _smooth_scene(records[start:end], max_hold_s)
    ]


def gaps(records: Sequence[PassRecord]) -> list[range]:
    """Return where images have no fit of their own, each with the fits around it.

    Args:
        records: of all images of one camera, in the order in which they were measured.

    Returns:
        Numbers of the images of each gap, from the fit before it, where its scene has one, to the
        fit after it, where its scene has one. There is at least one of the two.
    """
    found = []
    for start, end in _scenes(records):
        fitted = [n for n in range(start, end) if records[n].fit.state is State.FITTED]
        bounds = [(start - 1, start), *((n, n) for n in fitted), (end - 1, end)]
        for (_, before), (after, _) in zip(bounds, bounds[1:]):
            if fitted and after > before + (before in fitted and after in fitted):
                found.append(range(before, after + 1))
    return found


def _scenes(records: Sequence[PassRecord]) -> list[tuple[int, int]]:
    """Return where each scene starts and ends: nothing is carried from one to another."""
    starts = [n for n, record in enumerate(records) if n == 0 or record.restarted]
    return list(zip(starts, [*starts[1:], len(records)]))


def _smooth_scene(records: Sequence[PassRecord], max_hold_s: float) -> list[ScaleFit]:
    forward = _carried(records, range(len(records)))
    backward = _carried(records, range(len(records) - 1, -1, -1))
    fits = []
    for record, before, after in zip(records, forward, backward):
        fit = record.fit
        if fit.state is not State.FITTED and not fit.method.endswith('+range') and after:
            wait_s = _seconds(record, records[after.source])
            if before is None:
                if wait_s <= max_hold_s:
                    reason = f'held from a fit {wait_s:.1f} s after'
                    fit = _held(records[after.source].fit, after, reason)
            elif _seconds(records[before.source], records[after.source]) <= _LONGEST_GAP_S:
                drift = _drift(records, forward, backward, before.source, after.source)
                fit = _between(records, record, before, after, drift)
        fits.append(fit)
    return fits


def _carried(records: Sequence[PassRecord], order: range) -> list[_Held | None]:
    """Return for each image the line that the fits up to it leave, in one direction of time.

    What an image measured itself has not entered its own entry where it ends a gap: that is what
    the drift is told by.
    """
    held: list[_Held | None] = [None] * len(records)
    if not records:
        return held
    track = LineTrack(records[0].fit.space)
    source: int | None = None
    for last, n in zip([None, *order], order):
        record = records[n]
        if last is None:
            track.advance(record.pooled, 0.0)
        else:
            change = records[max(last, n)].change
            track.advance(record.pooled, abs(_seconds(records[last], record)), change)
        if source is not None:
            scale, shift, covariance = track.line()
            held[n] = _Held(np.array([scale, shift]), covariance, source)
        if record.fit.state is State.FITTED:
            track.update(_line_fit(record.fit), record.pooled, vouched=True)
            source = n
    return held


def _drift(
    records: Sequence[PassRecord],
    forward: Sequence[_Held | None],
    backward: Sequence[_Held | None],
    first: int,
    last: int,
) -> float:
    """Return the variance of log depth that a carried line gains in a second, over one gap."""
    missed = []
    for n, arrived in ((last, forward[last]), (first, backward[first])):
        assert arrived is not None
        fit, pooled = records[n].fit, records[n].pooled
        target = fit.scale * pooled + fit.shift
        near = LineTrack(fit.space).near(target) & np.isfinite(pooled)
        if near.any():
            missed.append(line_distance(arrived.line, pooled[near], target[near]))
    gap_s = max(_seconds(records[first], records[last]), 1e-9)
    return max(float(np.mean(np.square(missed))) / gap_s if missed else 0.0, _DRIFT**2)


def _between(
    records: Sequence[PassRecord], record: PassRecord, before: _Held, after: _Held, drift: float
) -> ScaleFit:
    """Merge the lines of both sides in log depth."""
    pooled = record.pooled
    since_s = _seconds(records[before.source], record)
    until_s = _seconds(record, records[after.source])
    variance_before = _variance(records[before.source]) + drift * since_s
    variance_after = _variance(records[after.source]) + drift * until_s
    weight = variance_after / (variance_before + variance_after)
    sigma = math.sqrt(variance_before * weight)
    nearer = before if weight >= 0.5 else after
    last = records[nearer.source].fit

    said = [held.line[0] * pooled + held.line[1] for held in (before, after)]
    track = LineTrack(last.space)
    known = np.isfinite(pooled) & track.near(said[0]) & track.near(said[1])
    target = np.exp(weight * np.log(said[0][known]) + (1 - weight) * np.log(said[1][known]))
    merged = line_through(pooled[known], target)
    line = nearer.line if merged is None else merged
    residual = max(records[n].fit.residual for n in (before.source, after.source))
    return _held(
        replace(last, residual=residual),
        _Held(line, doubted(line, pooled, sigma), nearer.source),
        f'smoothed between fits {since_s:.1f} s before and {until_s:.1f} s after',
    )


def _held(fit: ScaleFit, held: _Held, reason: str) -> ScaleFit:
    scale, shift = map(float, held.line)
    return replace(
        fit, state=State.HELD, scale=scale, shift=shift, covariance=held.covariance, reason=reason
    )


def _variance(record: PassRecord) -> float:
    """Return the variance of log depth that a fit has by itself, half way of what it sees."""
    fit, pooled = record.fit, record.pooled
    said = fit.scale * pooled + fit.shift
    near = LineTrack(fit.space).near(said) & np.isfinite(pooled)
    if not near.any():
        return 1.0
    gradient = np.stack([pooled[near], np.ones(int(near.sum()))], axis=1) / said[near, None]
    variance = np.einsum('ki,ij,kj->k', gradient, fit.covariance, gradient)
    return max(float(np.median(variance)), _LEAST_SIGMA**2)


def _line_fit(fit: ScaleFit) -> LineFit:
    return LineFit(fit.scale, fit.shift, fit.covariance, fit.inliers, 1.0, fit.residual)


def _seconds(earlier: PassRecord, later: PassRecord) -> float:
    return (later.stamp_ns - earlier.stamp_ns) * 1e-9
