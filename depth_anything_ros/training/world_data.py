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

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.training.bag_data import is_bag, read_bag
from depth_anything_ros.training.folder_data import FAR_M, NEAR_M, read_folder
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import KINDS, random_scene
from depth_anything_ros.world.trajectory import random_view

HELD_OUT_SEED = 10_000_000  # scenes from this seed on are never trained on
VIEWS_PER_SCENE = 4
_FILES: tuple[tuple[str, Any, tuple[int, ...]], ...] = (
    ('image_rgb', np.uint8, (3,)), ('inverse_depth', np.float16, ()), ('semantic', np.uint8, ()))


@dataclass(frozen=True)
class WorldImages:
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


def open_world(folder: Path) -> WorldImages:
    """Open a folder written by render_world.

    Args:
        folder: what to open.

    Returns:
        Memory-mapped arrays.

    Raises:
        DatasetError: the folder is absent or its rendering was not finished.
    """
    if not (folder / 'world.json').is_file():
        raise DatasetError(f'{folder} holds no finished world images: render them with '
                           'python -m depth_anything_ros.training.world_data --out ' + str(folder))
    return WorldImages(*(np.load(folder / f'{name}.npy', mmap_mode='r') for name, _, _ in _FILES))


def open_pictures(folders: Sequence[Path], with_depth: bool = True) -> WorldImages:
    """Read several folders and bags as one set of pictures of one size.

    Args:
        folders: of rendered pictures, or of one's own: ROS 2 bags, or folders in the layout of
            folder_data. One's own are brought to the size of the rendered ones, or to 224x168
            where there are none.
        with_depth: whether depth is needed.

    Returns:
        All pictures in memory.

    Raises:
        DatasetError: a folder or bag cannot be read, has no depth between 0.3 and 80 m though it is
            needed, or rendered pictures differ in size.
    """
    own = {folder: read_bag if is_bag(folder) else read_folder for folder in folders
           if is_bag(folder) or (folder / 'images').is_dir()}
    rendered = {folder: open_world(folder) for folder in folders if folder not in own}
    sizes = {world.image_rgb.shape[1:3] for world in rendered.values()} or {(168, 224)}
    if len(sizes) > 1:
        raise DatasetError(f'rendered pictures differ in size, {sorted(sizes)}: render them alike')
    height, width = sizes.pop()
    worlds = [WorldImages(*own[folder](folder, width, height, with_depth)) if folder in own
              else rendered[folder] for folder in folders]
    for folder, pictures in zip(folders, worlds):
        if with_depth and folder in own:
            _require_metres(folder, pictures.inverse_depth)
    return WorldImages(*(np.concatenate([getattr(world, name) for world in worlds])
                         for name, _, _ in _FILES))


def _require_metres(folder: Path, inverse_depth: NDArray[np.float16]) -> None:
    """Refuse pictures of which none has depth that can be learnt from."""
    if not any(((one > 1 / FAR_M) & (one < 1 / NEAR_M)).any() for one in inverse_depth):
        some = inverse_depth[:64].astype(np.float32)
        known = some[some > 0]  # without sky and NaN
        there = f'their median is {1 / np.median(known):.3g}' if len(known) else 'all are unknown'
        raise DatasetError(f'{folder} has no depth between {NEAR_M} and {FAR_M:g} m ({there}): '
                           '.npy and 32FC1 hold metres, 16 bits millimetres; masks are 0 where '
                           'depth is not to be used')


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
