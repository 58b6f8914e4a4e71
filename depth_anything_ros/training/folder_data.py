# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of one's own camera from a folder, with depth or without.

Layout: images/NAME.png or .jpg, and where depth is known depth/NAME.npy (float metres) or
depth/NAME.png (16 bit millimetres, 0 unknown) and perhaps mask/NAME.png (0 is not to be used).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.errors import DatasetError

UNKNOWN_CLASS = 255
NEAR_M, FAR_M = 0.3, 80.0  # depth that is learnt from in metres, and scored


def read_folder(folder: Path, width: int, height: int, with_depth: bool
                ) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.uint8]]:
    """Read and resize all pictures of a folder.

    Args:
        folder: in the layout above.
        width: pixels to resize to; the middle of the wanted shape is cut out first.
        height: pixels.
        with_depth: whether every picture needs a depth.

    Returns:
        image_rgb NxHxWx3 uint8, inverse_depth NxHxW float16 in 1/m (NaN where unknown), and
        semantic NxHxW uint8, all UNKNOWN_CLASS.

    Raises:
        DatasetError: there are no pictures, or one is corrupt, lacks its depth or differs in size
            from it.
    """
    paths = sorted(path for path in (folder / 'images').glob('*')
                   if path.suffix.lower() in ('.png', '.jpg', '.jpeg'))
    if not paths:
        raise DatasetError(f'{folder} holds no images/NAME.png or .jpg to train on')
    images = np.empty((len(paths), height, width, 3), np.uint8)
    inverse = np.full((len(paths), height, width), np.nan, np.float16)
    for i, path in enumerate(paths):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise DatasetError(f'{path} is corrupt or no picture: remove or replace it')
        images[i] = small_image(picture, width, height)[..., ::-1]
        if with_depth:
            depth_m = _depth(folder, path.stem, picture.shape[:2])
            inverse[i] = small_inverse_depth(depth_m, width, height)
    return images, inverse, np.full(inverse.shape, UNKNOWN_CLASS, np.uint8)


def small_image(image: NDArray[Any], width: int, height: int) -> NDArray[np.uint8]:
    """Resize the middle of an HxWx3 picture to height x width pixels."""
    small: NDArray[np.uint8] = np.asarray(cv2.resize(
        _middle(image, width / height), (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return small


def small_inverse_depth(depth_m: NDArray[np.float32], width: int, height: int
                        ) -> NDArray[np.float32]:
    """Invert the middle of an HxW depth and resize it, nearest pixel, as small_image() does.

    Args:
        depth_m: metres; infinite is sky, and what is not above 0 is unknown.
        width: pixels.
        height: pixels.

    Returns:
        height x width in 1/m, 0 for sky and NaN where unknown.
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        inverse = np.where(depth_m > 0, 1 / depth_m, np.float32(np.nan))
    small: NDArray[np.float32] = np.asarray(cv2.resize(
        _middle(inverse, width / height), (width, height), interpolation=cv2.INTER_NEAREST))
    return small


def _depth(folder: Path, name: str, size: tuple[int, ...]) -> NDArray[np.float32]:
    depth_m: NDArray[np.float32]
    array, picture = folder / 'depth' / f'{name}.npy', folder / 'depth' / f'{name}.png'
    if array.is_file():
        try:
            depth_m = np.load(array).astype(np.float32)
        except (ValueError, EOFError, OSError) as error:
            raise DatasetError(f'{array} is corrupt: remove or replace it') from error
    else:
        millimetres = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
        if millimetres is None or millimetres.dtype != np.uint16:
            raise DatasetError(f'depth of {name} is missing or corrupt: {array.name} (metres) or '
                               f'{picture.name} (16 bit, millimetres) is needed in {array.parent}')
        depth_m = (millimetres / 1000).astype(np.float32)
    if depth_m.shape != size:
        raise DatasetError(f'depth of {name} is {depth_m.shape} and its picture {size}: both must '
                           'have the same height and width')
    mask = folder / 'mask' / f'{name}.png'
    if mask.is_file():
        used = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        if used is None or used.shape != size:
            raise DatasetError(f'{mask} is corrupt or not of its picture\'s size: replace it')
        depth_m[used == 0] = np.nan
    return depth_m


def _middle(picture: NDArray[Any], aspect: float) -> NDArray[Any]:
    """Cut the largest centred window with the given width over height."""
    height, width = picture.shape[:2]
    rows, columns = min(height, round(width / aspect)), min(width, round(height * aspect))
    top, left = (height - rows) // 2, (width - columns) // 2
    return picture[top:top + rows, left:left + columns]
