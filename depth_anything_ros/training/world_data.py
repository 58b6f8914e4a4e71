# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of the synthetic world on disk, rendered once and read many times.

`python -m depth_anything_ros.training.world_data --out DIR --count 24000 --workers 2`
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch.utils.data import Dataset

from depth_anything_ros.errors import DatasetError, reason
from depth_anything_ros.training.sample import Sample
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import KINDS, random_scene
from depth_anything_ros.world.trajectory import random_view

HELD_OUT_SEED = 10_000_000  # scenes from this seed on are never trained on
VIEWS_PER_SCENE = 4
_FILES: tuple[tuple[str, Any, tuple[int, ...]], ...] = (
    ('image_rgb', np.uint8, (3,)), ('inverse_depth', np.float16, ()), ('semantic', np.uint8, ()))


@dataclass(frozen=True)
class WorldImages(Dataset[Sample]):
    """Memory-mapped pictures.

    Attributes:
        image_rgb: NxHxWx3 uint8.
        inverse_depth: NxHxW float16, one over Z depth in metres; 0 for sky.
        semantic: NxHxW uint8.
    """

    image_rgb: NDArray[np.uint8]
    inverse_depth: NDArray[np.float16]
    semantic: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.image_rgb)

    def __getitem__(self, index: int) -> Sample:
        return Sample(np.array(self.image_rgb[index]), np.array(self.inverse_depth[index]),
                      np.array(self.semantic[index]))


def _render_share(folder: Path, first_seed: int, width: int, height: int, kind: str | None,
                  indices: Sequence[int]) -> None:
    torch.set_num_threads(1)
    arrays = {name: np.load(folder / f'{name}.npy', mmap_mode='r+') for name, _, _ in _FILES}
    for i in indices:
        seed = first_seed + i // VIEWS_PER_SCENE
        if i % VIEWS_PER_SCENE == 0 or i == indices[0]:
            scene = random_scene(seed, kind)
        view = random_view(scene, VIEWS_PER_SCENE * seed + i % VIEWS_PER_SCENE, width, height)
        picture = render(scene, view.T_world_camera, view.K, width, height, view.D)
        arrays['image_rgb'][i] = picture.image_rgb
        arrays['inverse_depth'][i] = 1.0 / picture.depth_m
        arrays['semantic'][i] = picture.semantic


def render_world(folder: Path, count: int, first_seed: int, width: int, height: int,
                 workers: int = 1, kind: str | None = None) -> None:
    """Render pictures of random scenes into .npy files; the same seed gives the same files.

    Args:
        folder: where to write; made when absent.
        count: number of pictures.
        first_seed: of the first scene; each scene is seen VIEWS_PER_SCENE times.
        width: pixels.
        height: pixels.
        workers: processes.
        kind: of every scene; None draws one for each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, dtype, tail in _FILES:
        np.lib.format.open_memmap(folder / f'{name}.npy', mode='w+', dtype=dtype,
                                  shape=(count, height, width, *tail))
    share = -(-count // workers // VIEWS_PER_SCENE) * VIEWS_PER_SCENE
    parts = [range(w * share, min((w + 1) * share, count)) for w in range(workers)]
    arguments = [(folder, first_seed, width, height, kind, part) for part in parts if len(part)]
    if workers == 1:
        _render_share(*arguments[0])
    else:
        with multiprocessing.get_context('spawn').Pool(workers) as pool:
            pool.starmap(_render_share, arguments)
    about = {'count': count, 'first_seed': first_seed, 'width': width, 'height': height,
             'kind': kind}
    (folder / 'world.json').write_text(json.dumps(about))


def is_world(folder: Path) -> bool:
    """Tell whether a folder is one of render_world(), finished or not."""
    return (folder / f'{_FILES[0][0]}.npy').is_file()


def open_world(folder: Path) -> WorldImages:
    """Open a folder written by render_world.

    Args:
        folder: what to open.

    Returns:
        Memory-mapped arrays.

    Raises:
        DatasetError: the folder is absent, broken or its rendering was not finished.
    """
    if not (folder / 'world.json').is_file():
        raise DatasetError(f'{folder} holds no finished world images: render them with '
                           'python -m depth_anything_ros.training.world_data --out ' + str(folder))
    try:
        arrays = [np.lib.format.open_memmap(folder / f'{name}.npy', mode='r')
                  for name, _, _ in _FILES]
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f'{folder} is broken ({reason(error)}): render it again') from error
    for array, (name, dtype, tail) in zip(arrays, _FILES):
        if array.dtype != dtype or array.shape != arrays[0].shape[:3] + tail:
            raise DatasetError(f'{folder}/{name}.npy is no array of a world: render it again')
    return WorldImages(*arrays)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Render pictures of the synthetic world.')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--count', type=int, default=24000)
    parser.add_argument('--first-seed', type=int, default=0)
    parser.add_argument('--width', type=int, default=224)
    parser.add_argument('--height', type=int, default=168)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--kind', choices=KINDS, help='of every scene; one is drawn for each')
    args = parser.parse_args()
    render_world(args.out, args.count, args.first_seed, args.width, args.height, args.workers,
                 args.kind)


if __name__ == '__main__':
    main()
