# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores as a table beside those of others, as CSV per image, and as a sheet of pictures."""

from __future__ import annotations

from collections.abc import Sequence
import csv
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from depth_anything_ros.evaluation.image_scores import ImageScore, METRICS
from depth_anything_ros.evaluation.pairs import accuracy, by_scene, PairScore
from depth_anything_ros.evaluation.published import (
    DA2K,
    IN_MOGE,
    NOT_REPRODUCIBLE,
    PAPER,
    REPRODUCED,
    reproducible,
)

_TILE_WIDTH = 400


def print_table(
    console: Console,
    dataset: str,
    label: str,
    means: dict[str, dict[str, float]],
    parts: dict[str, dict[str, dict[str, float]]],
) -> None:
    """Print the mean scores in both spaces above what others found.

    Args:
        console: where to.
        dataset: key of PAPER, or another without rows of the paper's.
        label: what was scored, for the title.
        means: of protocols.mean_scores.
        parts: the same of each part of the data set.
    """
    table = Table(title=f'{label} on {dataset}', padding=(0, 1, 0, 0))  # 80 columns hold it
    table.add_column('', no_wrap=True)
    for column in ('AbsRel', 'δ1', 'RMSE', 'MAE', 'SILog', 'MoGe\nAbsRel', 'MoGe\nδ1'):
        table.add_column(column, justify='right', no_wrap=True)
    for part, of_part in {'': means, **parts}.items():
        for space, name in (('disparity_space', 'disparity, 1/m'), ('depth_space', 'depth, m')):
            m = of_part[space]
            numbers = [f'{m[key]:.3f}' for key in ('abs_rel', 'delta1', 'rmse', 'mae')]
            numbers.append(f'{m["silog"]:.2f}')
            if space == 'depth_space':
                numbers += [_number(of_part['moge'][key]) for key in ('abs_rel', 'delta1')]
            table.add_row(f'{part}: {name}' if part else name, *numbers)
    table.add_section()
    mark = {True: '', False: ' *', None: ' ?'}[reproducible(dataset)]
    for model, (abs_rel, delta1) in PAPER.get(dataset, {}).items():
        table.add_row(f'paper: {model}{mark}', f'{abs_rel:.3f}', f'{delta1:.3f}')
    if found := REPRODUCED.get(dataset, {}):
        table.add_section()
    in_moge = IN_MOGE.get(dataset, {})
    for model, abs_rel in found.items():
        moge = [_number(in_moge[model])] if model in in_moge else []
        table.add_row(f'others: {model}, depth', f'{abs_rel:.3f}', *[''] * 4, *moge)
    console.print(table)
    if dataset in NOT_REPRODUCIBLE:
        console.print(f'* not reproducible: {NOT_REPRODUCIBLE[dataset]}', highlight=False)
    elif mark and dataset in PAPER:
        console.print('? nobody is known to have tried to find these again', highlight=False)


def print_pairs(console: Console, label: str, scores: Sequence[PairScore]) -> None:
    """Print the share of pairs in the right order by kind of scene, above the paper's."""
    table = Table(title=f'{label} on da2k')
    table.add_column('')
    for column in ('pairs', 'in order'):
        table.add_column(column, justify='right')
    scenes = by_scene(scores)
    for scene, of_scene in scenes.items():
        pairs = sum(score.pairs for score in of_scene)
        table.add_row(scene, str(pairs), f'{accuracy(of_scene):.3f}')
    table.add_section()
    pairs = sum(score.pairs for score in scores)
    table.add_row('all pairs', str(pairs), f'{accuracy(scores):.3f}')
    mean = float(np.mean([accuracy(of_scene) for of_scene in scenes.values()]))
    table.add_row('mean of scenes', '', f'{mean:.3f}')
    table.add_section()
    for model, share in DA2K.items():
        table.add_row(f'paper: {model}', '', f'{share:.3f}')
    console.print(table)


def _number(value: float) -> str:
    return 'none' if math.isnan(value) else f'{value:.3f}'


def write_csv(path: Path, scores: Sequence[ImageScore]) -> None:
    """Write one line per image: its alignment and its scores."""
    columns = [(space, key) for space in ('disparity_space', 'depth_space') for key in METRICS]
    columns += [('moge', 'abs_rel'), ('moge', 'delta1')]
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(
            ['image', 'pixels', 'scale', 'shift', 'clipped', 'coverage']
            + [f'{space}_{key}' for space, key in columns]
        )
        for s in scores:
            numbers = [getattr(s, space)[key] for space, key in columns]
            writer.writerow([s.name, s.pixels, s.scale, s.shift, s.clipped, s.coverage, *numbers])


def write_pairs_csv(path: Path, scores: Sequence[PairScore]) -> None:
    """Write one line per image: its kind of scene, its pairs and how many are in order."""
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['image', 'scene', 'pairs', 'right'])
        writer.writerows([s.name, s.scene, s.pairs, s.right] for s in scores)


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
        predicted_m: HxW aligned depth in metres, NaN where there is none.
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
        for x in (photo, coloured(np.nan_to_num(1 / predicted_m)), coloured(inverse_truth))
    ]
    header = np.zeros((24, 3 * _TILE_WIDTH, 3), dtype=np.uint8)
    cv2.putText(header, caption, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return np.vstack([header, np.hstack(tiles)]).astype(np.uint8)
