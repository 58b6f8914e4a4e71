# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores as a table beside the paper's, as CSV per image, and as a sheet of pictures."""

from __future__ import annotations

from collections.abc import Sequence
import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from depth_anything_ros.evaluation.protocols import ImageScore, METRICS

# AbsRel and delta1, zero-shot, Depth Anything (arXiv 2401.10891), Table 2.
PAPER: dict[str, dict[str, tuple[float, float]]] = {
    'kitti': {'MiDaS 3.1': (0.127, 0.850), 'S': (0.080, 0.936), 'B': (0.080, 0.939),
              'L': (0.076, 0.947)},
    'nyu': {'MiDaS 3.1': (0.048, 0.980), 'S': (0.053, 0.972), 'B': (0.046, 0.979),
            'L': (0.043, 0.981)},
    'sintel': {'MiDaS 3.1': (0.587, 0.699), 'S': (0.464, 0.739), 'B': (0.432, 0.756),
               'L': (0.458, 0.760)},
    'ddad': {'MiDaS 3.1': (0.251, 0.766), 'S': (0.247, 0.768), 'B': (0.232, 0.786),
             'L': (0.230, 0.789)},
    'eth3d': {'MiDaS 3.1': (0.139, 0.867), 'S': (0.127, 0.885), 'B': (0.126, 0.884),
              'L': (0.127, 0.882)},
    'diode': {'MiDaS 3.1': (0.075, 0.942), 'S': (0.076, 0.939), 'B': (0.069, 0.946),
              'L': (0.066, 0.952)},
}

_TILE_WIDTH = 400


def print_table(
    console: Console, dataset: str, label: str, means: dict[str, dict[str, float]]
) -> None:
    """Print the mean scores in both spaces above the paper's rows.

    Args:
        console: where to.
        dataset: key of PAPER, or another without rows of the paper's.
        label: what was scored, for the title.
        means: of protocols.mean_scores.
    """
    table = Table(title=f'{label} on {dataset}')
    table.add_column('')
    for column in ('AbsRel', 'δ1', 'RMSE', 'MAE', 'SILog'):
        table.add_column(column, justify='right')
    for space, unit in (('disparity_space', '1/m'), ('depth_space', 'm')):
        m = means[space]
        numbers = [f'{m["abs_rel"]:.3f}', f'{m["delta1"]:.3f}', f'{m["rmse"]:.3f} {unit}',
                   f'{m["mae"]:.3f} {unit}', f'{m["silog"]:.2f}']
        table.add_row(space.replace('_', ' '), *numbers)
    table.add_section()
    for model, (abs_rel, delta1) in PAPER.get(dataset, {}).items():
        name = model if model == 'MiDaS 3.1' else f'Depth Anything {model}'
        table.add_row(f'{name} (paper)', f'{abs_rel:.3f}', f'{delta1:.3f}')
    console.print(table)


def write_csv(path: Path, scores: Sequence[ImageScore]) -> None:
    """Write one line per image: its alignment and its scores in both spaces."""
    spaces = ('disparity_space', 'depth_space')
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(
            ['image', 'pixels', 'scale', 'shift', 'clipped']
            + [f'{space}_{key}' for space in spaces for key in METRICS]
        )
        for s in scores:
            numbers = [getattr(s, space)[key] for space in spaces for key in METRICS]
            writer.writerow([s.name, s.pixels, s.scale, s.shift, s.clipped, *numbers])


def picture_row(
    caption: str,
    image_rgb: NDArray[np.uint8] | None,
    predicted_m: NDArray[np.floating[Any]],
    depth_m: NDArray[np.floating[Any]],
) -> NDArray[np.uint8]:
    """Draw one image, its aligned prediction and its truth side by side; nearer is brighter.

    Args:
        caption: written above.
        image_rgb: HxWx3, None where only predictions are at hand.
        predicted_m: HxW aligned depth in metres.
        depth_m: HxW true depth in metres, NaN where it is not scored.

    Returns:
        BGR picture, three tiles wide; both depths share the colours, spread over the truth's
        inverse depth between its 2nd and 98th percentile.
    """
    inverse_truth = np.nan_to_num(1 / depth_m).astype(np.float32)
    scored = inverse_truth > 0
    near, far = np.percentile(inverse_truth[scored], [98, 2])
    if scored.mean() < 0.5:  # single lidar points would vanish in a picture this small
        size = max(depth_m.shape[1] // _TILE_WIDTH, 1) * 2 + 1
        inverse_truth = cv2.dilate(inverse_truth, np.ones((size, size))).astype(np.float32)

    def coloured(inverse_depth: NDArray[Any]) -> NDArray[np.uint8]:
        share = np.clip((inverse_depth - far) / max(near - far, 1e-9), 0, 1)
        picture = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
        picture[inverse_depth <= 0] = 64
        return np.asarray(picture, dtype=np.uint8)

    blank = np.full((*depth_m.shape, 3), 64, dtype=np.uint8)
    photo = blank if image_rgb is None else image_rgb[..., ::-1]
    height = max(round(_TILE_WIDTH * depth_m.shape[0] / depth_m.shape[1]), 1)
    tiles = [
        cv2.resize(np.ascontiguousarray(x), (_TILE_WIDTH, height), interpolation=cv2.INTER_NEAREST)
        for x in (photo, coloured(1 / predicted_m), coloured(inverse_truth))
    ]
    header = np.zeros((24, 3 * _TILE_WIDTH, 3), dtype=np.uint8)
    cv2.putText(header, caption, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return np.vstack([header, np.hstack(tiles)]).astype(np.uint8)
