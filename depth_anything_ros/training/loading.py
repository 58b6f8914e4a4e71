# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of crops, read from disk while the network computes.

Which picture goes where in a batch, and how it is cut, follows from the seed and the number of the
step alone: not from the number of workers, nor from where a run was stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import multiprocessing
import os
from threading import Thread
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, get_worker_info

from depth_anything_ros.addresses import Address, PathOrAddress
from depth_anything_ros.errors import DatasetError, DepthAnythingError, reason
from depth_anything_ros.training.augment import random_crop
from depth_anything_ros.training.bag_data import BagSamples, is_bag
from depth_anything_ros.training.config import Phase
from depth_anything_ros.training.folder_data import FolderSamples
from depth_anything_ros.training.picture_files import holds_pictures
from depth_anything_ros.training.picture_list import PictureList
from depth_anything_ros.training.sample import FAR_M, NEAR_M, Sample
from depth_anything_ros.training.shards import are_shards, LABELS, ShardSamples
from depth_anything_ros.training.world_data import is_world, open_world

_LOOKED_AT = 64  # pictures of a folder before the first step
_MOST_IN_A_ROW = 100  # corrupt ones; more are no accident
_CURE = ('set workers: 0, lower workers or batch_size, or give more memory; a container has little '
         'shared memory without docker run --ipc=host')


def open_samples(folders: Sequence[PathOrAddress], with_depth: bool = True
                 ) -> ConcatDataset[Sample]:
    """Open several folders and bags as one, without reading more of them than a few.

    Args:
        folders: of rendered pictures, of shards, or of one's own: ROS 2 bags, folders in the
            layout of folder_data, or without depth lists of pictures. Shards may lie in a store.
        with_depth: whether depth is needed.

    Returns:
        Their pictures, each read at its own size when asked for; one that is corrupt is then a
        DatasetError.

    Raises:
        DatasetError: a folder or bag cannot be opened, none of its pictures can be read, or none
            has depth between 0.3 and 80 m though it is needed, among those looked at.
    """
    opened = [_open(folder, with_depth) for folder in folders]
    for folder, samples in zip(folders, opened):
        _look_at_some(folder, samples, with_depth)
    return ConcatDataset(opened)


def open_pseudo(folders: Sequence[PathOrAddress], confidence: float) -> ConcatDataset[Sample]:
    """Open folders of shards that `label` made as one.

    Args:
        folders: of shards.
        confidence: labels that are less sure are unknown.

    Raises:
        DatasetError: one is no such folder, or none of its pictures looked at can be read.
    """
    opened = []
    for folder in folders:
        if not (folder / LABELS).is_file():
            raise DatasetError(f'{folder} holds no labels of a teacher: make them by label')
        opened.append(ShardSamples(folder, True, confidence))
        _look_at_some(folder, opened[-1], with_depth=False)
    return ConcatDataset(opened)


def _open(folder: PathOrAddress, with_depth: bool) -> Dataset[Sample]:
    if isinstance(folder, Address):
        if not are_shards(folder):
            raise DatasetError(f'{folder} holds no shards, which alone are read from a store: see '
                               'where they are, or copy bags and pictures to this machine')
        return _open_shards(folder, with_depth)
    if is_bag(folder):
        return BagSamples(folder, with_depth)
    if not folder.exists():
        raise DatasetError(f'{folder} is absent: see where it is, or render or pack it first')
    if are_shards(folder):
        return _open_shards(folder, with_depth)
    if folder.is_file():
        return PictureList(folder, with_depth)
    if is_world(folder):
        return open_world(folder)
    if (folder / 'images').is_dir() or not with_depth and holds_pictures(folder):
        return FolderSamples(folder, with_depth)
    if holds_pictures(folder):
        raise DatasetError(f'{folder} holds pictures and not their depth: put them into '
                           f'{folder}/images and it into {folder}/depth, as docs/training.md says')
    raise DatasetError(f'{folder} holds no pictures, shards, bag or rendered world: see where they '
                       'are, and docs/training.md for how they lie')


def _open_shards(folder: PathOrAddress, with_depth: bool) -> Dataset[Sample]:
    if with_depth and (folder / LABELS).is_file():
        raise DatasetError(f'{folder} holds a teacher\'s labels, which are no true depth: name it '
                           'as student.pseudo')
    return ShardSamples(folder, with_depth)


def _look_at_some(folder: PathOrAddress, samples: Dataset[Sample], with_depth: bool) -> None:
    """Refuse pictures of which none can be read, or none has depth that can be learnt from."""
    count = len(samples)  # type: ignore[arg-type]
    refused: DatasetError | None = None
    known = []
    for index in np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int)):
        try:
            inverse = samples[index].inverse_depth.astype(np.float32)
        except DatasetError as error:
            refused = error
            continue
        if not with_depth or ((inverse > 1 / FAR_M) & (inverse < 1 / NEAR_M)).any():
            return
        known.append(inverse[inverse > 0])
    if refused is not None and not known:
        raise refused
    values = np.concatenate(known)
    there = f'their median is {1 / np.median(values):.3g}' if len(values) else 'all are unknown'
    raise DatasetError(f'{folder} has no depth between {NEAR_M} and {FAR_M:g} m ({there}): '
                       '.npy and 32FC1 hold metres, 16 bits millimetres; masks are 0 where '
                       'depth is not to be used')


@dataclass(frozen=True)
class Draw:
    """One place in a batch: which picture, and how it is cut."""

    index: int
    size: tuple[int, int]
    crop: str
    seed: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops of one size.

    Attributes:
        image_rgb: Bx3xHxW uint8.
        inverse_depth: BxHxW float32 in 1/m; 0 for sky, NaN where unknown.
        semantic: BxHxW int64.
        skipped: what was wrong with pictures in whose place others were taken.
    """

    image_rgb: Tensor
    inverse_depth: Tensor
    semantic: Tensor
    skipped: tuple[str, ...]


Crop = tuple[tuple[Tensor, Tensor, Tensor] | None, list[str]]


class _Crops(Dataset[Crop]):
    """Cuts what is drawn; in the place of a picture that is corrupt comes any other."""

    def __init__(self, samples: ConcatDataset[Sample]) -> None:
        self.samples = samples

    def __getitem__(self, draw: Draw) -> Crop:
        skipped: list[str] = []
        others = np.random.default_rng([draw.seed, 1])  # the next may be of the same broken shard
        for index in (draw.index, *others.integers(len(self.samples), size=_MOST_IN_A_ROW - 1)):
            try:
                sample = self.samples[int(index)]
            except DatasetError as error:
                skipped.append(str(error))
                continue
            generator = torch.Generator().manual_seed(draw.seed)
            return random_crop(sample, draw.size, generator, draw.crop == 'centre'), skipped
        return None, skipped


def _collate(crops: list[Crop]) -> Batch | DepthAnythingError:
    """Stack crops, or return what is wrong: raised, it would not come out of a worker in one line.

    A worker moves them to shared memory here: where that is full, the queue behind would only drop
    the batch, for which training would wait for ever.
    """
    skipped = tuple(text for _, texts in crops for text in texts)
    cut = [tensors for tensors, _ in crops if tensors is not None]
    if len(cut) < len(crops):
        return DatasetError(f'{_MOST_IN_A_ROW} pictures in a row are corrupt; the last of them: '
                            f'{skipped[-1]}')
    stacked = [torch.stack(parts) for parts in zip(*cut)]
    if get_worker_info() is not None:
        try:
            for tensor in stacked:
                tensor.share_memory_()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            return DepthAnythingError(f'a batch does not fit into shared memory ({reason(error)}): '
                                      f'{_CURE}')
    image_rgb, inverse_depth, semantic = stacked
    return Batch(image_rgb, inverse_depth, semantic, skipped)


def size_of_step(phase: Phase, seed: int, step: int) -> tuple[int, int]:
    """Draw a step's height and width in pixels."""
    return phase.sizes[np.random.default_rng([seed, step]).integers(len(phase.sizes))]


def draws_of_step(phase: Phase, seed: int, step: int, stream: int, among: int, count: int
                  ) -> list[Draw]:
    """Draw a step's batch, of all processes together.

    Args:
        phase: of the step.
        seed: of the run.
        step: from 1.
        stream: 1 for labelled pictures and 2 for the others.
        among: how many pictures there are.
        count: how many are wanted; without repeating any, unless there are fewer.
    """
    rng = np.random.default_rng([seed, step, stream])  # of [seed, step] it would be that of 0
    indices = rng.choice(among, count, replace=count > among)
    seeds = rng.integers(2**62, size=count)
    size = size_of_step(phase, seed, step)
    return [Draw(int(index), size, phase.crop, int(own)) for index, own in zip(indices, seeds)]


class Stream:
    """Batches in the order of their draws, until it is closed."""

    def __init__(self, samples: ConcatDataset[Sample], draws: Iterator[list[Draw]], workers: int
                 ) -> None:
        """Start reading.

        Args:
            samples: to draw from.
            draws: what each batch is to hold, of this process.
            workers: processes that read ahead; 0 reads in this one.
        """
        self.skipped: dict[str, None] = {}  # each once, in order
        context = None
        if workers:
            # Forked from a process without threads, as PyTorch and OpenCV have them.
            context = multiprocessing.get_context('forkserver')
            context.set_forkserver_preload([__name__])
        self._loader: Iterator[Batch | DepthAnythingError] | None = iter(DataLoader(
            _Crops(samples), batch_sampler=draws, num_workers=workers,
            collate_fn=_collate, multiprocessing_context=context, generator=torch.Generator(),
            worker_init_fn=_begin if workers else None))

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
            DepthAnythingError: more pictures in a row are corrupt than can be by accident, or the
                workers have too little memory.
        """
        assert self._loader is not None
        try:
            batch = next(self._loader)
        except RuntimeError as error:
            if not str(error).startswith('DataLoader worker'):
                raise
            raise DepthAnythingError('a process that reads pictures was killed, as happens where '
                                     f'memory runs out ({reason(error)}): {_CURE}') from error
        if isinstance(batch, DepthAnythingError):
            raise batch
        self.skipped.update(dict.fromkeys(batch.skipped))
        return batch

    def close(self) -> None:
        """End the workers: left to the garbage collector, they are waited for in vain, 5 s each."""
        self._loader = None


def _begin(worker: int) -> None:
    """Use one core, as PyTorch does in its workers, and end with the process that trains.

    However that ends: PyTorch's own watch is of the process that a worker was forked from, which
    is the fork server, and that one lives as long as its workers do.
    """
    cv2.setNumThreads(1)
    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
