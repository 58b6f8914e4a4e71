# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of one's own camera from a folder, with depth or without.

Layout: images/NAME.png or .jpg, and where depth is known depth/NAME.npy (float metres) or
depth/NAME.png (16 bit millimetres, 0 unknown) and perhaps mask/NAME.png (0 is not to be used).
Depth and mask lie as the picture's pixels are stored; its EXIF orientation turns all three.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.training.picture_files import (
    decode_file,
    list_pictures,
    read_file,
    read_stored,
    upright,
)
from depth_anything_ros.training.sample import own_sample, Sample


class FolderSamples(Dataset[Sample]):
    """A folder's pictures, each read when it is asked for."""

    def __init__(self, folder: Path, with_depth: bool) -> None:
        """List a folder.

        Args:
            folder: in the layout above; without depth its pictures may lie in it themselves.
            with_depth: whether every picture needs a depth.

        Raises:
            DatasetError: there are no pictures.
        """
        self.folder, self.with_depth = folder, with_depth
        images = folder / 'images'
        self._pictures = images if with_depth or images.is_dir() else folder
        self._names = list_pictures(self._pictures)
        if not len(self._names):
            raise DatasetError(f'{folder} holds no images/NAME.png or .jpg to train on')

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """Read one picture at its own size.

        Raises:
            DatasetError: it is corrupt, lacks its depth or differs in size from it.
        """
        path = self._pictures / os.fsdecode(self._names[index])
        image_rgb, orientation = read_stored(path)
        depth_m = None
        if self.with_depth:
            depth_m = upright(_depth(self.folder, path.stem, image_rgb.shape[:2], orientation),
                              orientation)
        return own_sample(upright(image_rgb, orientation), depth_m)


def _depth(folder: Path, name: str, size: tuple[int, ...], orientation: int
           ) -> NDArray[np.float32]:
    """Read the depth that belongs to a picture, as both are stored."""
    depth_m: NDArray[np.float32]
    array, picture = folder / 'depth' / f'{name}.npy', folder / 'depth' / f'{name}.png'
    if array.is_file():
        try:
            stored = np.lib.format.open_memmap(array, mode='r')  # bounded by what the file holds
        except (ValueError, EOFError, OSError) as error:
            raise DatasetError(f'{array} is corrupt: remove or replace it') from error
        if stored.dtype.kind not in 'fiu':
            raise DatasetError(f'{array} holds {stored.dtype} and no metres: write it as float32')
        with np.errstate(over='ignore'):  # farther than float32 knows is infinitely far
            depth_m = np.array(stored, np.float32)
    else:
        millimetres = None
        if picture.is_file():
            millimetres = decode_file(read_file(picture), cv2.IMREAD_UNCHANGED)
        if millimetres is None or millimetres.dtype != np.uint16:
            raise DatasetError(f'depth of {name} is missing or corrupt: {array.name} (metres) or '
                               f'{picture.name} (16 bit, millimetres) is needed in {array.parent}')
        depth_m = (millimetres / 1000).astype(np.float32)
    if depth_m.shape != size:
        turned = '' if orientation == 1 else (
            f', as stored before its EXIF orientation {orientation} turns it; store depth so too')
        raise DatasetError(f'depth of {name} is {depth_m.shape} and its picture {size}: both must '
                           f'have the same height and width{turned}')
    mask = folder / 'mask' / f'{name}.png'
    if mask.is_file():
        used = decode_file(read_file(mask), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
        if used is None or used.shape != size:
            raise DatasetError(f'{mask} is corrupt or not of its picture\'s size: replace it')
        depth_m[used == 0] = np.nan
    return depth_m
