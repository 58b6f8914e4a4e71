# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures named in a file, one path a line, be they millions."""

from __future__ import annotations

from functools import lru_cache
import os
from pathlib import Path
import zlib

import numpy as np
from torch.utils.data import Dataset

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.training.picture_files import read_stored, upright
from depth_anything_ros.training.sample import own_sample, Sample

_LINES = 1024  # between remembered places: 8 bytes for so many lines
_LONGEST = 4097  # bytes of a line; no path of Linux has as many


class PictureList(Dataset[Sample]):
    """A list's pictures; neither it nor they are held in memory.

    Attributes:
        checksum: CRC-32 of the list.
    """

    def __init__(self, file: Path, with_depth: bool = False) -> None:
        """Read the list through once.

        Args:
            file: one path a line, in UTF-8; relative ones are seen from the list's folder.
            with_depth: must be false: a list brings none.

        Raises:
            DatasetError: it cannot be read, is empty or no list of paths, or depth is wanted.
        """
        if with_depth:
            raise DatasetError(f'{file} lists pictures without depth: name folders, bags or shards')
        self.file, self.checksum, self._count = file, 0, 0
        starts, place = [], 0
        try:
            with file.open('rb') as lines:
                while line := lines.readline(_LONGEST):
                    if not line.strip() or b'\0' in line or len(line) == _LONGEST:
                        raise DatasetError(f'line {self._count + 1} of {file} is no path: a list '
                                           'has one path a line, and no empty lines')
                    if self._count % _LINES == 0:
                        starts.append(place)
                    self._count, place = self._count + 1, place + len(line)
                    self.checksum = zlib.crc32(line, self.checksum)
        except OSError as error:
            raise DatasetError(f'{file} cannot be read: {error.strerror}') from error
        if not self._count:
            raise DatasetError(f'{file} names no pictures')
        self._starts = np.array(starts, np.int64)
        self._block = lru_cache(maxsize=1)(self._read)

    def __len__(self) -> int:
        return self._count

    def path(self, index: int) -> Path:
        """Return the path of one picture.

        Raises:
            DatasetError: the list has changed, or gone.
        """
        try:
            line = self._block(index // _LINES)[index % _LINES]
        except OSError as error:
            raise DatasetError(f'{self.file} cannot be read: {error.strerror}') from error
        if not line:
            raise DatasetError(f'{self.file} changed while it was read: start again')
        return self.file.parent / os.fsdecode(line.strip())

    def __getitem__(self, index: int) -> Sample:
        """Read one picture.

        Raises:
            DatasetError: it is missing or corrupt.
        """
        return own_sample(upright(*read_stored(self.path(index))), None)

    def _read(self, block: int) -> list[bytes]:
        with self.file.open('rb') as file:
            file.seek(int(self._starts[block]))
            return [file.readline() for _ in range(min(_LINES, self._count - block * _LINES))]

    def __getstate__(self) -> dict[str, object]:
        """Leave the lines in hand behind."""
        return {name: value for name, value in vars(self).items() if name != '_block'}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Begin with none."""
        vars(self).update(state)
        self._block = lru_cache(maxsize=1)(self._read)
