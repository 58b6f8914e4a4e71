# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Line charts drawn with OpenCV, so that benchmarks need nothing beyond the package."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

_SIZE = (480, 720)
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 40, 50
_COLOURS = ((0, 0, 200), (200, 100, 0), (0, 150, 0), (0, 140, 230), (150, 0, 150), (120, 120, 0))
_BLACK, _GRID, _FONT = (0, 0, 0), (220, 220, 220), cv2.FONT_HERSHEY_SIMPLEX


def write_chart(
    path: Path, title: str, x_label: str, ticks: list[str], series: dict[str, list[float]]
) -> None:
    """Write a chart of several series over named ticks; the y axis is logarithmic.

    Args:
        path: PNG file.
        title: above the chart.
        x_label: below it.
        ticks: names along x.
        series: legend -> one positive value a tick, NaN where there is none.
    """
    height, width = _SIZE
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    values = np.array([v for line in series.values() for v in line if np.isfinite(v) and v > 0])
    low, high = np.log10(values.min() / 1.2), np.log10(values.max() * 1.2)

    def at(i: int, value: float) -> tuple[int, int]:
        x = _LEFT + (width - _LEFT - _RIGHT) * i / max(1, len(ticks) - 1)
        y = height - _BOTTOM - (height - _TOP - _BOTTOM) * (np.log10(value) - low) / (high - low)
        return round(float(x)), round(float(y))

    for value in np.outer(10.0 ** np.arange(-4, 3), [1, 2, 5]).ravel():
        if low <= np.log10(value) <= high:
            _, y = at(0, value)
            cv2.line(canvas, (_LEFT, y), (width - _RIGHT, y), _GRID)
            cv2.putText(canvas, f'{value:g}', (10, y + 4), _FONT, 0.4, _BLACK, 1, cv2.LINE_AA)
    for i, tick in enumerate(ticks):
        x, _ = at(i, 10**low)
        cv2.putText(canvas, tick, (x - 8, height - 30), _FONT, 0.4, _BLACK, 1, cv2.LINE_AA)
    cv2.putText(canvas, title, (_LEFT, 24), _FONT, 0.55, _BLACK, 1, cv2.LINE_AA)
    cv2.putText(canvas, x_label, (_LEFT, height - 10), _FONT, 0.45, _BLACK, 1, cv2.LINE_AA)
    for k, (name, line) in enumerate(series.items()):
        colour, thickness = _COLOURS[k % len(_COLOURS)], 2 if k else 3
        points = [at(i, value) for i, value in enumerate(line) if np.isfinite(value) and value > 0]
        cv2.polylines(canvas, [np.array(points)], False, colour, thickness, cv2.LINE_AA)
        y = _TOP + 20 * k + 10
        cv2.line(canvas, (width - _RIGHT + 15, y), (width - _RIGHT + 40, y), colour, thickness)
        where = (width - _RIGHT + 46, y + 4)
        cv2.putText(canvas, name, where, _FONT, 0.42, _BLACK, 1, cv2.LINE_AA)
    cv2.imwrite(str(path), canvas)
