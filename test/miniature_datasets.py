# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writers of tiny data sets in the publishers' folder layouts, shared by the evaluation tests."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

KITTI_DRIVE = '2011_09_26/2011_09_26_drive_0002_sync'


def photo(path, size, colour=(10, 20, 30)):
    """Write an RGB picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size, 3), colour[::-1], dtype=np.uint8))


def png16(path, values):
    """Write a 16-bit grey PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.asarray(values, dtype=np.uint16))


def kitti(root: Path, depths_m) -> list[str]:
    """Write raw images and annotated depth (PNG, 1/256 m); NaN becomes 0."""
    names = []
    for number, depth_m in enumerate(depths_m):
        name = f'{number:010d}'
        photo(root / f'{KITTI_DRIVE}/image_02/data/{name}.png', depth_m.shape)
        drive = KITTI_DRIVE.split('/')[1]
        png16(root / f'val/{drive}/proj_depth/groundtruth/image_02/{name}.png',
              np.nan_to_num(depth_m) * 256)
        names.append(f'{KITTI_DRIVE}/image_02/data/{name}')
    return names


def nyu(root: Path, depths_m) -> list[str]:
    """Write the extracted test split (PNG, mm); NaN becomes 0."""
    folder = root / 'official_splits' / 'test' / 'kitchen'
    for number, depth_m in enumerate(depths_m):
        photo(folder / f'rgb_{number:05d}.jpg', depth_m.shape)
        png16(folder / f'sync_depth_{number:05d}.png', np.round(np.nan_to_num(depth_m) * 1000))
    return [f'kitchen/rgb_{number:05d}' for number in range(len(depths_m))]


def sintel(root: Path, depths_m) -> list[str]:
    """Write the final pass and .dpt depth."""
    for number, depth_m in enumerate(depths_m, 1):
        photo(root / f'training/final/alley_1/frame_{number:04d}.png', depth_m.shape)
        path = root / f'training/depth/alley_1/frame_{number:04d}.dpt'
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = depth_m.shape
        path.write_bytes(
            b'PIEH' + np.array([width, height], '<i4').tobytes() + depth_m.astype('<f4').tobytes()
        )
    return [f'final/alley_1/frame_{number:04d}' for number in range(1, len(depths_m) + 1)]


def eth3d(root: Path, depths_m) -> list[str]:
    """Write photographs and headless float32 depth; NaN becomes inf."""
    scene = root / 'courtyard'
    for number, depth_m in enumerate(depths_m):
        photo(scene / f'images/dslr_images/DSC_{number:04d}.JPG', depth_m.shape)
        path = scene / f'ground_truth_depth/dslr_images/DSC_{number:04d}.JPG'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.nan_to_num(depth_m, nan=np.inf).astype('<f4').tofile(path)
    return [f'courtyard/images/dslr_images/DSC_{number:04d}' for number in range(len(depths_m))]


def diode(root: Path, depths_m, part='indoors') -> list[str]:
    """Write images, HxWx1 depth and masks; NaN becomes a masked 5 m."""
    names = []
    for number, depth_m in enumerate(depths_m):
        stem = f'00019_00183_{part}_000_{number:03d}'
        folder = root / f'val/{part}/scene_00019/scan_00183'
        photo(folder / f'{stem}.png', depth_m.shape)
        np.save(folder / f'{stem}_depth.npy', np.nan_to_num(depth_m, nan=5.0)[..., None])
        np.save(folder / f'{stem}_depth_mask.npy', np.isfinite(depth_m).astype(np.float64))
        names.append(f'scene_00019/scan_00183/{stem}')
    return names


def ddad(root: Path, depths_m) -> list[str]:
    """Write DGP folders: the lidar sees one point behind the centre of every valid pixel.

    The lidar is 1 m above the camera, looks along x (z up), and the car drove 0.5 m between the
    two exposures, which only the poses know.
    """
    base = root / 'ddad_train_val'
    scene = base / '000150'
    fx, fy, cx, cy = 50.0, 60.0, 4.0, 3.0
    data, samples, names = [], [], []
    for number, depth_m in enumerate(depths_m):
        height, width = depth_m.shape
        v, u = np.nonzero(np.isfinite(depth_m))
        z = depth_m[v, u]
        x, y = (u + 0.5 - cx) / fx * z, (v + 0.5 - cy) / fy * z  # pixels are truncated
        # camera at the world's origin, x forward, z up in the world: right is -y, down is -z
        world = np.stack([z, -x, -y], axis=1)
        lidar = world - [0.5, 0.0, 1.0]
        stamp = f'{number:017d}'
        photo(scene / f'rgb/CAMERA_01/{stamp}.png', depth_m.shape)
        points = scene / f'point_cloud/LIDAR/{stamp}.npz'
        points.parent.mkdir(parents=True, exist_ok=True)
        behind = np.array([[-5.0, 0.0, 0.0, 0.0]])
        np.savez(points, data=np.vstack([np.pad(lidar, ((0, 0), (0, 1))), behind]))
        data += [
            _datum(f'c{number}', 'CAMERA_01', 'image', f'rgb/CAMERA_01/{stamp}.png',
                   (0.5, -0.5, 0.5, -0.5), (0, 0, 0), height=height, width=width),
            _datum(f'l{number}', 'LIDAR', 'point_cloud', f'point_cloud/LIDAR/{stamp}.npz',
                   (1, 0, 0, 0), (0.5, 0, 1.0)),
        ]
        samples.append({'datum_keys': [f'c{number}', f'l{number}'], 'calibration_key': 'abc'})
        names.append(f'000150/rgb/CAMERA_01/{stamp}')
    (scene / 'calibration').mkdir()
    intrinsics = [{}, {'fx': fx, 'fy': fy, 'cx': cx, 'cy': cy, 'skew': 0}]
    (scene / 'calibration/abc.json').write_text(
        json.dumps({'names': ['LIDAR', 'CAMERA_01'], 'intrinsics': intrinsics})
    )
    (scene / 'scene_def.json').write_text(json.dumps({'data': data, 'samples': samples}))
    splits = {'0': {'filenames': ['000000/scene_x.json']},
              '1': {'filenames': ['000150/scene_def.json']}}
    (base / 'ddad.json').write_text(json.dumps({'scene_splits': splits}))
    return names


def _datum(key, name, kind, filename, rotation, translation, **more):
    pose = {
        'rotation': dict(zip(('qw', 'qx', 'qy', 'qz'), rotation)),
        'translation': dict(zip('xyz', translation)),
    }
    return {'key': key, 'id': {'name': name},
            'datum': {kind: {'filename': filename, 'pose': pose, **more}}}


def da2k(root: Path, size=(3, 6)) -> dict[str, list]:
    """Write DA-2K with two images of 3x6 pixels and five pairs; points are row and column.

    Its folder is unpacked one below the root. Two pairs name point2 as the nearer one, which the
    benchmark's own never do.
    """
    pairs = {
        'images/indoor/a.jpg': [
            {'point1': [0, 5], 'point2': [2, 0], 'closer_point': 'point1'},
            {'point1': [1, 1], 'point2': [1, 4], 'closer_point': 'point1'},
            {'point1': [2, 2], 'point2': [2, 3], 'closer_point': 'point1'},
        ],
        'images/outdoor/b.png': [
            {'point1': [0, 0], 'point2': [2, 5], 'closer_point': 'point2'},
            {'point1': [1, 0], 'point2': [1, 5], 'closer_point': 'point2'},
        ],
    }
    for name in pairs:
        photo(root / 'DA-2K' / name, size)
    (root / 'DA-2K/annotations.json').write_text(json.dumps(pairs))
    return pairs


WRITERS = {
    'kitti': kitti, 'nyu': nyu, 'sintel': sintel, 'ddad': ddad, 'eth3d': eth3d, 'diode': diode,
}
