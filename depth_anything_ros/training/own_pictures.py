# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of one's own robot as a data set to score on: whatever can be trained on."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from depth_anything_ros.evaluation.datasets import Dataset
from depth_anything_ros.evaluation.files import Depth, Image
from depth_anything_ros.evaluation.protocols import Protocol
from depth_anything_ros.evaluation.samples import Sample
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.sample import FAR_M, NEAR_M, Samples

_LEAST_PIXELS = 100  # with known depth; as in the score while training


def own_dataset() -> Dataset:
    """Describe shards, bags and folders, which are scored where their depth is known."""
    protocol = Protocol(NEAR_M, FAR_M, min_pixels=_LEAST_PIXELS)
    return Dataset(_read, 'shards, a bag or a folder of pictures with depth', 'your robot', 0,
                   protocol)


def _read(path: Path) -> list[Sample]:
    samples = open_samples([path])

    @lru_cache(maxsize=1)  # picture and depth are asked for one after the other
    def picture(index: int) -> tuple[Image, Depth]:
        return _picture(samples, index)

    return [Sample(f'{index:08d}', partial(lambda i: picture(i)[0], index),
                   partial(lambda i: picture(i)[1], index)) for index in range(len(samples))]


def _picture(samples: Samples, index: int) -> tuple[Image, Depth]:
    """Read the image and its Z depth in metres, NaN where it is unknown or sky."""
    sample = samples[index]
    inverse = sample.inverse_depth.astype(np.float32)
    known = inverse > 0
    return sample.image_rgb, np.where(known, 1 / np.where(known, inverse, 1), np.float32(np.nan))
