# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shared memory: room in it for images, and what killed processes have left behind."""

from __future__ import annotations

import fcntl
from pathlib import Path
import re
import time

from depth_anything_ros.errors import DepthAnythingError

# By which Fast DDS finds a profile, up to Jazzy and from Kilted on.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_PROFILE = Path('config', 'fastdds_shm.xml')
# Fast DDS keeps the messages of each process in a segment (fastrtps_ up to Jazzy, fastdds_ from
# Kilted on) and holds a lock on the file <segment>_el as long as the process lives.
_LOCK = re.compile(r'(fastrtps|fastdds)_[0-9a-z]{16}_el')
_YOUNG_S = 10.0  # the lock file of a process that just starts is there before it is locked


def profile() -> Path:
    """Find config/fastdds_shm.xml in the source tree, a virtual environment or a colcon prefix.

    Raises:
        DepthAnythingError: it is not installed.
    """
    for folder in Path(__file__).resolve().parents:
        for path in (folder / _PROFILE, folder / 'share' / 'depth_anything_ros' / _PROFILE):
            if path.is_file():
                return path
    raise DepthAnythingError(f'{_PROFILE} is not installed: install the package again')


def remove_dead_segments(folder: Path = Path('/dev/shm'), *, remove: bool = True) -> int:
    """Remove the segments of Fast DDS whose processes are dead, as `fastdds shm clean` does.

    A process that was killed leaves its segments behind: 35 MB with config/fastdds_shm.xml. What
    belongs to other users, or to a process that may be just starting, stays.

    Args:
        folder: where shared memory lies.
        remove: whether they go, or are only counted.

    Returns:
        The bytes freed.
    """
    freed = 0
    for lock in folder.glob('fast*_el'):
        if _LOCK.fullmatch(lock.name):
            try:
                freed += _remove_if_dead(lock, remove)
            except (PermissionError, FileNotFoundError):
                pass  # another user's, or another process was faster
    return freed


def _remove_if_dead(lock: Path, remove: bool) -> int:
    if time.time() - lock.stat().st_mtime < _YOUNG_S:
        return 0
    with lock.open('rb') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # its process lives
        segment = lock.with_name(lock.name.removesuffix('_el'))
        size = segment.stat().st_size if segment.exists() else 0
        if remove:
            segment.unlink(missing_ok=True)
            lock.unlink()
    return size
