# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of many annotated bags as a table, and as one HTML file with plots and pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from io import StringIO
import math

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from depth_anything_ros.evaluation.contact_sheet import FAR_M, NEAR_M
from depth_anything_ros.evaluation.quality import (
    draw_frame,
    from_start_to_end,
    LARGEST_SIGMA,
    Quality,
    Series,
)
from depth_anything_ros.metric_depth.scale import State

_COLOURS = {
    State.FITTED: '#2a9d4a', State.METRIC: '#3b7dd8', State.HELD: '#e9b83a',
    State.UNANCHORED: '#cc3333',
}
_WIDTH, _HEIGHT, _BAND = 640, 60, 8  # of a plot, px
_MOST_POINTS = 320  # of a curve: the medians of so many spans
_STYLE = 'font-family:sans-serif;font-size:13px'


def quality_table(fleet: Sequence[Quality]) -> Table:
    """Return a line for each camera of each bag; what changes from start to end shows a drift."""
    table = Table()
    table.add_column('bag', overflow='fold')
    table.add_column('camera', overflow='fold')
    states = [state.value for state in State if any(q.share(state.value) for q in fleet)]
    for name in ('frames', *states, 'sigma', 'lidar disagreement', 'extrinsic score'):
        table.add_column(name, justify='right')
    for quality in fleet:
        known = quality.sigma[np.isfinite(quality.sigma)]
        table.add_row(
            _plain(quality.bag.name),
            _plain(quality.image_topic),
            str(len(quality.states)),
            *(f'{quality.share(state):.0%}' for state in states),
            f'{np.median(known):.1%}' if len(known) else '',
            _change(quality.disagreement, '.1%'),
            _change(quality.extrinsic_score, '.2f'),
        )
    return table


def quality_page(fleet: Sequence[Quality], failed: Sequence[str], pictures: int) -> str:
    """Return a page of its own, without a link to anything.

    Args:
        fleet: what is shown.
        failed: a line for each bag that could not be done.
        pictures: how many frames of each camera are shown, the least sure ones.

    Raises:
        DatasetError: a bag is corrupt.
    """
    console = Console(record=True, width=160, file=StringIO(), force_terminal=False)
    console.print(quality_table(fleet))
    for line in failed:
        console.print(line, style='red', markup=False, highlight=False, soft_wrap=True)
    page = console.export_html(inline_styles=True)
    legend = ' '.join(
        f'<span style="color:{colour}">&#9632;</span> {state.value}'
        for state, colour in _COLOURS.items()
    )
    parts = [f'<p style="{_STYLE}">States: {legend}. Pictures: image; depth from {NEAR_M:g} (red) '
             f'to {FAR_M:g} m (blue); sigma / depth from 0 (black) to {LARGEST_SIGMA:.0%} '
             '(white).</p>']
    parts += [_section(quality, pictures) for quality in fleet]
    return page.replace('</body>', f'{"".join(parts)}</body>')


def _section(quality: Quality, pictures: int) -> str:
    drawn = []
    for i in quality.least_sure(pictures):
        jpeg = cv2.imencode('.jpg', draw_frame(quality, i), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
        after_s = (quality.time_ns[i] - quality.time_ns[0]) * 1e-9
        title = f'{after_s:.1f} s: {quality.states[i]}, sigma {_number(quality.sigma[i], ".1%")}'
        data = base64.b64encode(jpeg.tobytes()).decode()
        drawn.append(f'<p style="{_STYLE}">{escape(title)}<br><img alt="{escape(title)}" '
                     f'src="data:image/jpeg;base64,{data}"></p>')
    title = f'{quality.bag} {quality.image_topic}'
    return f'<h3 style="font-family:sans-serif">{escape(title)}</h3>{_plots(quality)}' + (
        ''.join(drawn)
    )


def _plots(quality: Quality) -> str:
    """Draw the states as a band, and three curves over time under it, each from 0."""
    curves = {
        'sigma': (quality.sigma, '.0%', 0.0),
        'lidar disagreement': (quality.disagreement, '.0%', 0.0),
        'extrinsic score': (quality.extrinsic_score, '.1f', 1.0),
    }
    span_s = (quality.time_ns - quality.time_ns[0]) * 1e-9
    x = span_s / max(float(span_s[-1]), 1e-9) * _WIDTH
    edges = [*x, float(_WIDTH)]
    band, first = [], 0
    for i in range(1, len(x) + 1):  # runs of one state
        if i == len(x) or quality.states[i] != quality.states[first]:
            colour = _COLOURS[State(quality.states[first])]
            band.append(f'<rect x="{edges[first]:.1f}" y="0" height="{_BAND}" '
                        f'width="{max(edges[i] - edges[first], 0.5):.1f}" fill="{colour}"/>')
            first = i
    drawn = [''.join(band)]
    for n, (name, (series, form, least)) in enumerate(curves.items()):
        top = _BAND + 6 + n * (_HEIGHT + 6)
        known = series[np.isfinite(series)]
        highest = max(float(np.quantile(known, 0.99)) if len(known) else 0.0, least, 1e-9)
        drawn.append(
            f'<rect x="0" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="#f4f4f4"/>'
            f'{_curve(x, series / highest, top)}'
            f'<text x="{_WIDTH + 6}" y="{top + 12}">{name}</text>'
            f'<text x="{_WIDTH + 6}" y="{top + 28}">0 to {highest:{form}}</text>'
        )
    height = _BAND + 3 * (_HEIGHT + 6) + 20
    drawn.append(f'<text x="0" y="{height - 4}">{span_s[-1]:.0f} s</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + 160}" height="{height}" '
            f'font-family="sans-serif" font-size="12">{"".join(drawn)}</svg>')


def _curve(x: Series, level: Series, top: int) -> str:
    """Draw a curve of 0 to 1, with gaps where nothing is known."""
    lines: list[list[str]] = [[]]
    for part in np.array_split(np.arange(len(x)), min(len(x), _MOST_POINTS)):
        known = part[np.isfinite(level[part])]
        if not len(known):
            lines.append([])
            continue
        y = top + _HEIGHT * (1 - min(float(np.median(level[known])), 1.0))
        lines[-1].append(f'{x[part].mean():.1f},{y:.1f}')
    return ''.join(
        f'<polyline points="{" ".join(line if len(line) > 1 else 2 * line)}" fill="none" '
        'stroke="#333" stroke-width="1.5" stroke-linecap="round"/>'
        for line in lines if line
    )


def _change(series: Series, form: str) -> str:
    start, end = from_start_to_end(series)
    return f'{_number(start, form)} to {_number(end, form)}'


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else 'unknown'


def _plain(text: str) -> str:
    return text.replace('[', r'\[')
