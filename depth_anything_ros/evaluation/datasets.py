# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The six data sets of the paper, read from the folders their publishers hand out.

A reader lists the images that have a true depth; pixels are read when asked for. Depth is Z along
the optical axis in metres, NaN where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation import ddad, files
from depth_anything_ros.evaluation.files import Depth, Image
from depth_anything_ros.evaluation.protocols import Protocol
from depth_anything_ros.evaluation.samples import Sample, sample_of


@dataclass(frozen=True)
class Dataset:
    """One row of the table of data sets.

    Attributes:
        read: folder -> samples in order of name; none where the layout is not there.
        layout: what the folder must hold, one line.
        source: where it is had.
        images: how many images the paper's protocol has.
        protocol: how they are scored.
        parts: whether the first folder of a name is a part that is scored by itself too.
    """

    read: Callable[[Path], list[Sample]]
    layout: str
    source: str
    images: int
    protocol: Protocol
    parts: bool = False


def load_samples(name: str, root: str | Path, split: str | Path | None = None) -> list[Sample]:
    """List the samples of a data set.

    Args:
        name: key of DATASETS.
        root: the data set's folder.
        split: text file with one image a line (its first word: Sample.name, any suffix); images
            without true depth are left out, as the Eigen list of KITTI expects. None takes all.

    Raises:
        DatasetError: the layout or the split file is not there, or nothing is left.
    """
    dataset, folder = DATASETS[name], Path(root)
    samples = dataset.read(folder) if folder.is_dir() else []
    if not samples:
        raise DatasetError(
            f'no {name} data in {folder}: expected {dataset.layout}; get it from {dataset.source}'
        )
    if split is None:
        return samples
    if not Path(split).is_file():
        raise DatasetError(
            f'split file {split} is missing; it lists one image a line, like {samples[0].name}'
        )
    by_name = {sample.name: sample for sample in samples}
    lines = (line.split() for line in Path(split).read_text().splitlines())
    listed = [str(PurePosixPath(words[0].lstrip('/')).with_suffix('')) for words in lines if words]
    chosen = [by_name[key] for key in listed if key in by_name]
    if not chosen:
        raise DatasetError(
            f'none of the {len(listed)} lines of {split} is an image with true depth in {folder}; '
            f'names look like {samples[0].name}'
        )
    return chosen


def _kitti(root: Path) -> list[Sample]:
    """Pair annotated depth maps (PNG, 1/256 m, 0 invalid) with the raw left colour images."""
    bases = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    samples = []
    for truth in files.find(root, '*_sync/proj_depth/groundtruth/image_02/*.png'):
        drive = truth.parents[3].name
        name = f'{drive[:10]}/{drive}/image_02/data/{truth.stem}'
        images = [base / f'{name}.png' for base in bases]
        image = next((path for path in images if path.is_file()), images[0])
        samples.append(sample_of(name, image, files.png_depth, truth, 256))
    return sorted(samples, key=lambda sample: sample.name)


def _nyu(root: Path) -> list[Sample]:
    """Read the labelled .mat file, or its extracted test split (PNG, mm, 0 invalid); raw."""
    for labeled in files.find(root, 'nyu_depth_v2_labeled.mat'):
        return _nyu_mat(labeled, labeled.with_name('splits.mat'))
    samples = []
    for truth in files.find(root, 'test/*/sync_depth_*.png'):
        image = truth.with_name(truth.stem.replace('sync_depth', 'rgb') + '.jpg')
        name = f'{truth.parent.name}/{image.stem}'
        samples.append(sample_of(name, image, files.png_depth, truth, 1000))
    return samples


def _nyu_mat(labeled: Path, splits: Path) -> list[Sample]:
    """Read images and rawDepths, both stored transposed, of the 1-based testNdxs."""
    if not splits.is_file():
        raise DatasetError(f'{splits} is missing: it lies beside {labeled.name} on its home page')
    h5py, matlab = files.module('h5py', labeled), files.module('scipy.io', splits)
    with files.reading(labeled):
        file = h5py.File(labeled, 'r')
        images, depths = file['images'], file['rawDepths']
    with files.reading(splits):
        test = [int(index) for index in matlab.loadmat(splits)['testNdxs'].ravel()]
    return [
        Sample(
            f'{index:04d}',
            partial(_transposed, labeled, images, index - 1),
            partial(_transposed_depth, labeled, depths, index - 1),
        )
        for index in test
    ]


def _transposed(labeled: Path, stored: Any, index: int) -> Image:
    with files.reading(labeled):
        return np.ascontiguousarray(stored[index].T, dtype=np.uint8)


def _transposed_depth(labeled: Path, stored: Any, index: int) -> Depth:
    with files.reading(labeled):
        return files.valid(stored[index].T)


def _sintel(root: Path) -> list[Sample]:
    """Pair the final pass with .dpt files (tag, width, height, float32 metres)."""
    samples = []
    for truth in files.find(root, 'depth/*/*.dpt'):
        name = f'final/{truth.parent.name}/{truth.stem}'
        image = truth.parents[2] / f'{name}.png'
        samples.append(sample_of(name, image, files.dpt_depth, truth))
    return samples


def _eth3d(root: Path) -> list[Sample]:
    """Pair the distorted photographs with their depth (headless float32, inf invalid)."""
    samples = []
    for truth in files.find(root, '*/ground_truth_depth/dslr_images/*.JPG'):
        scene = truth.parents[2]
        image = scene / 'images' / 'dslr_images' / truth.name
        name = f'{scene.name}/images/dslr_images/{truth.stem}'
        samples.append(sample_of(name, image, files.raw_depth, truth, image))
    return samples


def _diode(root: Path) -> list[Sample]:
    """Pair validation images with NAME_depth.npy (HxWx1 metres) and NAME_depth_mask.npy."""
    samples = []
    for truth in files.find(root, 'val/*/scene_*/scan_*/*_depth.npy'):
        stem = truth.name.removesuffix('_depth.npy')
        name = '/'.join([*truth.parts[-4:-1], stem])
        mask = truth.with_name(f'{stem}_depth_mask.npy')
        image = truth.with_name(f'{stem}.png')
        samples.append(sample_of(name, image, files.npy_depth, truth, mask))
    return samples


DATASETS = {
    'kitti': Dataset(
        _kitti,
        '<date>/<drive>_sync/image_02/data/*.png (raw data) and {train,val}/<drive>_sync/'
        'proj_depth/groundtruth/image_02/*.png (annotated depth)',
        'https://www.cvlibs.net/datasets/kitti',
        652,
        Protocol(max_depth_m=80, region='garg', image_crop=(352, 1216)),
    ),
    'nyu': Dataset(
        _nyu,
        'nyu_depth_v2_labeled.mat and splits.mat, or extracted from them '
        'official_splits/test/<scene>/{rgb_*.jpg,sync_depth_*.png}',
        'https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html',
        654,
        Protocol(max_depth_m=10, region='nyu'),
    ),
    'sintel': Dataset(
        _sintel,
        'training/final/<scene>/*.png and training/depth/<scene>/*.dpt',
        'http://sintel.is.tue.mpg.de/depth',
        1064,
        Protocol(max_depth_m=70),
    ),
    'ddad': Dataset(
        ddad.read,
        'ddad_train_val/ddad.json and its scenes <number>/{scene_*.json,calibration,rgb,'
        'point_cloud}',
        'https://github.com/TRI-ML/DDAD',
        3950,
        Protocol(max_depth_m=80, region='garg'),
    ),
    'eth3d': Dataset(
        _eth3d,
        '<scene>/images/dslr_images/*.JPG (dslr_jpg) and '
        '<scene>/ground_truth_depth/dslr_images/*.JPG (dslr_depth)',
        'https://www.eth3d.net/datasets',
        454,
        Protocol(max_depth_m=72),  # the largest true depth, arXiv 1907.01341
    ),
    'diode': Dataset(
        _diode,
        'val/{indoors,outdoor}/scene_*/scan_*/{*.png,*_depth.npy,*_depth_mask.npy}',
        'https://diode-dataset.org',
        771,
        Protocol(min_depth_m=0.6, max_depth_m=350),
        parts=True,
    ),
}
