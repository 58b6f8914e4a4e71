# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Picture files of one's own: PNG or JPEG, complete, and turned as their EXIF says."""

from __future__ import annotations

from collections.abc import Callable
import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.ros.compressed import picture_file

_ORIENTATION = 0x0112  # EXIF tag
# Orientation -> what makes a stored array upright; EXIF 2.32, table 6 (1 is upright already).
_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: np.rot90,
}


def list_pictures(folder: Path) -> NDArray[np.bytes_]:
    """Return the names of a folder's .png and .jpg files in order, in few bytes each."""
    with os.scandir(folder) as entries:
        names = [os.fsencode(entry.name) for entry in entries if _is_picture(entry)]
    return np.array(sorted(names), np.bytes_)


def holds_pictures(folder: Path) -> bool:
    """Tell whether any lies in a folder itself."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(map(_is_picture, entries))


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(('.png', '.jpg', '.jpeg'))


def read_file(path: Path) -> bytes:
    """Read a file whole.

    Raises:
        DatasetError: it cannot be read, or is a pipe or device, which may have no end.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError(0, 'it is no regular file')
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f'{path} cannot be read ({error.strerror}): remove or replace it'
                           ) from error


def decode_file(file: bytes, flags: int) -> NDArray[Any] | None:
    """Decode a picture as OpenCV does; None where it is broken or larger than that takes."""
    try:
        return cv2.imdecode(np.frombuffer(file, np.uint8), flags) if file else None
    except cv2.error:
        return None


def read_stored(path: Path) -> tuple[NDArray[np.uint8], int]:
    """Read a picture as it is stored.

    Returns:
        HxWx3 uint8 RGB, and the EXIF orientation; see upright().

    Raises:
        DatasetError: it is missing, no PNG or JPEG, or incomplete.
    """
    file = read_file(path)
    try:
        _, _, data = picture_file(file)
    except BadFrameError as error:
        raise DatasetError(f'{path} is corrupt or no picture, or is cut short: remove or replace it'
                           ) from error
    bgr = decode_file(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise DatasetError(f'{path} is corrupt or no picture: remove or replace it')
    kind = PngImageFile if file.startswith(b'\x89PNG') else JpegImageFile
    try:  # Image.open() would refuse what it takes for too large to be meant
        orientation = int(kind(io.BytesIO(file)).getexif().get(_ORIENTATION, 1))
    except Exception as error:  # broken EXIF makes Pillow raise what it likes
        raise DatasetError(f'{path} has broken EXIF data: write it again without') from error
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), orientation


def upright(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a picture, or what lies on its pixels, as EXIF says; unknown numbers do nothing."""
    turn = _TURNS.get(orientation)
    return stored if turn is None else np.ascontiguousarray(turn(stored))
