# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The file formats of the data sets: images, depth maps, arrays, JSON.

Depth comes as float32 metres with NaN for invalid. A missing or broken file is a DatasetError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import importlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.errors import DatasetError

Depth = NDArray[np.float32]
Image = NDArray[np.uint8]


def find(root: Path, pattern: str) -> list[Path]:
    """Find files whose path ends like the pattern, at most two folders below the root."""
    for above in ('', '*/', '*/*/'):
        if found := sorted(root.glob(above + pattern)):
            return found
    return []


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in whatever reading it stumbles over.

    Raises:
        DatasetError: the block failed, because the file is missing, broken or of another layout.
    """
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:  # h5py, scipy, zipfile and broken layouts have no error in common
        reason = f'{type(error).__name__}: {" ".join(str(error).split())}'
        raise DatasetError(
            f'{path} is missing or broken ({reason}): put a good copy in its place'
        ) from error


def array(path: Path) -> Any:
    """Read a .npy file, or that of a .npz which is named data."""
    with reading(path):
        stored = np.load(path, allow_pickle=False)
        return stored if isinstance(stored, np.ndarray) else stored['data']


def image(path: Path) -> Image:
    """Read a picture as HxWx3 uint8 RGB."""
    # Photographs may carry an orientation; depth maps are stored as the sensor saw it.
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise DatasetError(f'{path} is missing or no image')
    return np.ascontiguousarray(bgr[..., ::-1], dtype=np.uint8)


def png_depth(path: Path, units_per_metre: float) -> Depth:
    """Read a 16-bit grey PNG in which 0 is invalid (KITTI 256 units a metre, NYU 1000)."""
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 2:
        raise DatasetError(f'{path} is no 16-bit depth image')
    return valid(stored / units_per_metre)


def dpt_depth(path: Path) -> Depth:
    """Read Sintel's depth: tag, int32 width and height, float32 metres row by row."""
    with reading(path):
        data = path.read_bytes()
    header = np.frombuffer(data[4:12], '<i4')
    width, height = (int(n) for n in header) if len(header) == 2 else (0, 0)
    if data[:4] != b'PIEH' or len(data) != 12 + 4 * width * height:
        raise DatasetError(f'{path} is no .dpt file')
    return valid(np.frombuffer(data[12:], '<f4').reshape(height, width))


def raw_depth(path: Path, photo: Path) -> Depth:
    """Read ETH3D's depth: float32 metres row by row without a header, of the photograph's size."""
    height, width = image(photo).shape[:2]
    with reading(path):
        values = np.fromfile(path, '<f4')
    if len(values) != height * width:
        raise DatasetError(
            f'{path} holds {len(values)} float32, but {photo.name} is {width}x{height}: take the '
            'distorted photographs (dslr_jpg) and their depth (dslr_depth)'
        )
    return valid(values.reshape(height, width))


def npy_depth(path: Path, mask: Path) -> Depth:
    """Read DIODE's depth, HxWx1 metres, where its mask is positive."""
    depth, used = array(path), array(mask)
    with reading(path):
        return valid(np.where(used > 0, depth.reshape(depth.shape[:2]), np.nan))


def valid(depth_m: NDArray[Any]) -> Depth:
    """Mark what is not a positive, finite depth as NaN."""
    depth = np.asarray(depth_m, dtype=np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def parsed(path: Path) -> Any:
    """Read a JSON file."""
    with reading(path):
        return json.loads(path.read_text())


def module(name: str, needed_for: Path) -> Any:
    """Import a package that only one file format needs."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split('.')[0]
        raise DatasetError(
            f'reading {needed_for.name} needs {package}: pip install {package}'
        ) from error
