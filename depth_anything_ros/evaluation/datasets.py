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
from numpy.typing import NDArray

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation import files
from depth_anything_ros.evaluation.files import Depth, Image
from depth_anything_ros.evaluation.protocols import Protocol


@dataclass(frozen=True)
class Sample:
    """One image with its true depth.

    Attributes:
        name: path of the image inside the data set, without suffix; saved predictions, split files
            and reports use it.
        image: reads the image, HxWx3 uint8 RGB.
        depth_m: reads the true depth, HxW float32 in metres, NaN invalid.
    """

    name: str
    image: Callable[[], Image]
    depth_m: Callable[[], Depth]


@dataclass(frozen=True)
class Dataset:
    """One row of the table of data sets.

    Attributes:
        read: folder -> samples in order of name; none where the layout is not there.
        layout: what the folder must hold, one line.
        source: where it is had.
        images: how many images the paper's protocol has.
        protocol: how they are scored.
    """

    read: Callable[[Path], list[Sample]]
    layout: str
    source: str
    images: int
    protocol: Protocol


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


def _sample(name: str, image: Path, read_depth: Callable[..., Depth], *arguments: Any) -> Sample:
    return Sample(name, partial(files.image, image), partial(read_depth, *arguments))


def _kitti(root: Path) -> list[Sample]:
    """Pair annotated depth maps (PNG, 1/256 m, 0 invalid) with the raw left colour images."""
    bases = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    samples = []
    for truth in files.find(root, '*_sync/proj_depth/groundtruth/image_02/*.png'):
        drive = truth.parents[3].name
        name = f'{drive[:10]}/{drive}/image_02/data/{truth.stem}'
        images = [base / f'{name}.png' for base in bases]
        image = next((path for path in images if path.is_file()), images[0])
        samples.append(_sample(name, image, files.png_depth, truth, 256))
    return sorted(samples, key=lambda sample: sample.name)


def _nyu(root: Path) -> list[Sample]:
    """Read the labelled .mat file, or its extracted test split (PNG, mm, 0 invalid); raw."""
    for labeled in files.find(root, 'nyu_depth_v2_labeled.mat'):
        return _nyu_mat(labeled, labeled.with_name('splits.mat'))
    samples = []
    for truth in files.find(root, 'test/*/sync_depth_*.png'):
        image = truth.with_name(truth.stem.replace('sync_depth', 'rgb') + '.jpg')
        name = f'{truth.parent.name}/{image.stem}'
        samples.append(_sample(name, image, files.png_depth, truth, 1000))
    return samples


def _nyu_mat(labeled: Path, splits: Path) -> list[Sample]:
    """Read images and rawDepths, both stored transposed, of the 1-based testNdxs."""
    if not splits.is_file():
        raise DatasetError(f'{splits} is missing: it lies beside {labeled.name} on its home page')
    file = files.module('h5py', labeled).File(labeled, 'r')
    test = files.module('scipy.io', splits).loadmat(splits)['testNdxs'].ravel()
    return [
        Sample(
            f'{index:04d}',
            partial(_transposed, file['images'], index - 1),
            partial(_transposed_depth, file['rawDepths'], index - 1),
        )
        for index in map(int, test)
    ]


def _transposed(stored: Any, index: int) -> Image:
    return np.ascontiguousarray(stored[index].T, dtype=np.uint8)


def _transposed_depth(stored: Any, index: int) -> Depth:
    return files.valid(stored[index].T)


def _sintel(root: Path) -> list[Sample]:
    """Pair the final pass with .dpt files (tag, width, height, float32 metres)."""
    samples = []
    for truth in files.find(root, 'depth/*/*.dpt'):
        name = f'final/{truth.parent.name}/{truth.stem}'
        image = truth.parents[2] / f'{name}.png'
        samples.append(_sample(name, image, files.dpt_depth, truth))
    return samples


def _ddad(root: Path) -> list[Sample]:
    """Project the lidar of each validation sample into the front camera (DGP folders, JSON)."""
    index = next(iter(files.find(root, 'ddad.json')), None)
    if index is None:
        return []
    samples = []
    for scene_file in files.parsed(index)['scene_splits']['1']['filenames']:  # 0 train, 1 val
        path = index.parent / scene_file
        scene = files.parsed(path)
        data = {datum['key']: datum for datum in scene['data']}
        for group in scene['samples']:
            datums = {data[key]['id']['name']: data[key]['datum'] for key in group['datum_keys']}
            camera = datums['CAMERA_01']['image']
            lidar = datums['LIDAR']['point_cloud']
            calibration = path.parent / 'calibration' / f'{group["calibration_key"]}.json'
            image, points = path.parent / camera['filename'], path.parent / lidar['filename']
            name = image.relative_to(index.parent).with_suffix('').as_posix()
            samples.append(_sample(name, image, _ddad_depth, points, lidar, camera, calibration))
    return samples


def _ddad_depth(points: Path, lidar: Any, camera: Any, calibration: Path) -> Depth:
    """Return the lidar's depth map; both poses lead to the world, so ego motion is undone.

    A point falls into the pixel it truncates to, as in the data set's own tools; where several do,
    the nearest counts.
    """
    xyz = files.array(points)['data'][:, :3].astype(np.float64)
    T_camera_lidar = np.linalg.inv(_pose(camera['pose'])) @ _pose(lidar['pose'])
    xyz = xyz @ T_camera_lidar[:3, :3].T + T_camera_lidar[:3, 3]
    xyz = xyz[xyz[:, 2] > 0]
    sensors = files.parsed(calibration)
    k = sensors['intrinsics'][sensors['names'].index('CAMERA_01')]
    u = np.floor(k['fx'] * xyz[:, 0] / xyz[:, 2] + k['cx']).astype(np.int64)
    v = np.floor(k['fy'] * xyz[:, 1] / xyz[:, 2] + k['cy']).astype(np.int64)
    width, height = int(camera['width']), int(camera['height'])
    seen = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    depth = np.full((height, width), np.inf, dtype=np.float32)
    np.minimum.at(depth, (v[seen], u[seen]), xyz[seen, 2].astype(np.float32))
    return files.valid(depth)


def _pose(pose: Any) -> NDArray[np.float64]:
    """Return the 4x4 of a DGP pose, sensor to world."""
    rotation, translation = pose['rotation'], pose['translation']  # protobuf may leave out zeros
    w, x, y, z = (float(rotation.get(key, 0)) for key in ('qw', 'qx', 'qy', 'qz'))
    T = np.eye(4)
    T[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    T[:3, 3] = [translation.get(key, 0) for key in 'xyz']
    return T


def _eth3d(root: Path) -> list[Sample]:
    """Pair the distorted photographs with their depth (headless float32, inf invalid)."""
    samples = []
    for truth in files.find(root, '*/ground_truth_depth/dslr_images/*.JPG'):
        scene = truth.parents[2]
        image = scene / 'images' / 'dslr_images' / truth.name
        name = f'{scene.name}/images/dslr_images/{truth.stem}'
        samples.append(_sample(name, image, files.raw_depth, truth, image))
    return samples


def _diode(root: Path) -> list[Sample]:
    """Pair validation images with NAME_depth.npy (HxWx1 metres) and NAME_depth_mask.npy."""
    samples = []
    for truth in files.find(root, 'val/*/scene_*/scan_*/*_depth.npy'):
        stem = truth.name.removesuffix('_depth.npy')
        name = '/'.join([*truth.parts[-4:-1], stem])
        mask = truth.with_name(f'{stem}_depth_mask.npy')
        image = truth.with_name(f'{stem}.png')
        samples.append(_sample(name, image, files.npy_depth, truth, mask))
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
        _ddad,
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
    ),
}
