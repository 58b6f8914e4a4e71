# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder that is there as a whole, or beside it under a name that says that it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import errno
from pathlib import Path
import shutil
from tempfile import mkdtemp

from depth_anything_ros.errors import DatasetError

SUFFIX = '.unfinished'


def unfinished(path: Path) -> Path:
    """Return the folder in which what is to be at a path is made.

    Each attempt has a folder of its own in it, and writes there under the name of the path.
    """
    return path.with_name(path.name + SUFFIX)


@contextmanager
def made_whole(path: Path) -> Iterator[Path]:
    """Make a folder: where it is to be written, then moved to its place.

    Where this ends with an error what was written stays in unfinished(path); so it does where the
    block says so, by raising StopMaking. The next run begins it anew. One that still goes on, as on
    a machine that was given up for lost, never meets the files of the next, and fails at its end.

    Raises:
        DatasetError: it is there already, or cannot be written.
    """
    if path.exists():
        raise DatasetError(f'{path} exists: name another, or remove it')
    rooms = unfinished(path)
    try:
        shutil.rmtree(rooms, ignore_errors=True)  # what another attempt is adding to may stay
        rooms.mkdir(parents=True, exist_ok=True)
        room = Path(mkdtemp(dir=rooms))
        try:
            yield room / path.name
        except StopMaking:
            return
        (room / path.name).rename(path)
        shutil.rmtree(rooms, ignore_errors=True)
    except OSError as error:
        raise cannot_write(path, error) from error


class StopMaking(Exception):
    """What is being made is to stay unfinished."""


def cannot_write(path: Path, error: OSError) -> DatasetError:
    """Return what is wrong with writing, and what to do."""
    cure = {
        errno.ENOSPC: 'free some space',
        errno.EDQUOT: 'free some space',
        errno.EACCES: 'choose a folder that is yours',
        errno.EROFS: 'choose a folder that is yours',
    }.get(error.errno or 0, 'choose another place')
    return DatasetError(
        f'{path} cannot be written ({error.strerror or error}): {cure}, then start again'
    )
