# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DA-2K: pairs of pixels of which people said the nearer one.

Source: Depth Anything V2 (arXiv 2406.09414), section 6; format: DA-2K.md beside its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation import files
from depth_anything_ros.evaluation.samples import Picture

SOURCE = 'https://huggingface.co/datasets/depth-anything/DA-2K'


@dataclass(frozen=True)
class PairPicture(Picture):
    """One image with its pairs.

    Attributes:
        pairs: Nx2x2 int; of each pair the nearer, then the farther pixel, as row and column.
    """

    pairs: NDArray[np.int64]

    @property
    def scene(self) -> str:
        """The kind of scene, which is the image's folder."""
        return PurePosixPath(self.name).parent.name


@dataclass(frozen=True)
class PairScore:
    """How many of an image's pairs are in the right order.

    Attributes:
        name: the image.
        scene: its kind of scene.
        pairs: how many there are.
        right: how many the prediction has in order; equal predictions have none.
    """

    name: str
    scene: str
    pairs: int
    right: int


def load_pairs(root: str | Path) -> list[PairPicture]:
    """List the images of DA-2K in order of name; root holds annotations.json, up to two below.

    Raises:
        DatasetError: it is not there, or broken.
    """
    folder = Path(root)
    found = files.find(folder, 'annotations.json') if folder.is_dir() else []
    if not found:
        raise DatasetError(
            f'no da2k data in {folder}: expected annotations.json and images/<scene>/*; get it '
            f'from {SOURCE}'
        )
    with files.reading(found[0]):
        pictures = [
            PairPicture(
                PurePosixPath(name).with_suffix('').as_posix(),
                partial(files.image, found[0].parent / name),
                np.array([_pair(name, pair) for pair in pairs], dtype=np.int64).reshape(-1, 2, 2),
            )
            for name, pairs in sorted(files.parsed(found[0]).items())
        ]
    if not any(len(picture.pairs) for picture in pictures):
        raise DatasetError(f'{found[0]} holds no pair: get it again from {SOURCE}')
    return pictures


def score_pairs(
    picture: PairPicture, prediction: NDArray[np.floating[Any]], space: str
) -> PairScore:
    """Count the pairs that a prediction has in the right order.

    Args:
        picture: whose pairs.
        prediction: HxW of the image's size.
        space: what it is, 'inverse_depth' (larger is nearer) or 'depth'.

    Raises:
        DatasetError: a pixel lies outside, or the prediction there is not finite.
    """
    rows, columns = picture.pairs[..., 0], picture.pairs[..., 1]
    height, width = prediction.shape
    if ((rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)).any():
        raise DatasetError(f'{picture.name}: a pair lies outside its {height}x{width} pixels: '
                           f'get image and annotations again from {SOURCE}')
    nearer, farther = prediction[rows, columns].astype(np.float64).T
    if not np.isfinite([nearer, farther]).all():
        raise DatasetError(f'{picture.name}: the prediction is not finite at a pixel of a pair; '
                           'every pixel needs a prediction')
    right = nearer > farther if space == 'inverse_depth' else nearer < farther
    return PairScore(picture.name, picture.scene, len(picture.pairs), int(right.sum()))


def accuracy(scores: Sequence[PairScore]) -> float:
    """Return the share of all pairs that are in the right order."""
    return sum(score.right for score in scores) / sum(score.pairs for score in scores)


def by_scene(scores: Sequence[PairScore]) -> dict[str, list[PairScore]]:
    """Sort scores of images that have pairs by kind of scene."""
    scenes = sorted({score.scene for score in scores if score.pairs})
    return {scene: [one for one in scores if one.scene == scene] for scene in scenes}


def _pair(name: str, pair: Any) -> list[list[int]]:
    """Return the nearer and the farther pixel of one annotation.

    Raises:
        DatasetError: it is of another form.
    """
    points = {'point1': pair['point1'], 'point2': pair['point2']}
    for point in points.values():
        whole = len(point) == 2 and all(type(x) is int for x in point)
        if not whole or pair['closer_point'] not in points:
            raise DatasetError(f'annotation {pair} of {name} is none: expected point1 and point2 '
                               'as [row, column], and which of them is closer_point')
    nearer = points.pop(pair['closer_point'])
    return [nearer, *points.values()]
