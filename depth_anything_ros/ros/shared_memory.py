# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shared memory that killed processes have left behind."""

from __future__ import annotations

import fcntl
from pathlib import Path
import re
import time

# Fast DDS keeps the messages of each process in a segment (fastrtps_ up to Jazzy, fastdds_ from
# Kilted on) and holds a lock on the file <segment>_el as long as the process lives.
_LOCK = re.compile(r'(fastrtps|fastdds)_[0-9a-z]{16}_el')
_YOUNG_S = 10.0  # the lock file of a process that just starts is there before it is locked


def remove_dead_segments(folder: Path = Path('/dev/shm')) -> int:
    """Remove the segments of Fast DDS whose processes are dead, as `fastdds shm clean` does.

    A process that was killed leaves its segments behind: 35 MB with config/fastdds_shm.xml. What
    belongs to other users, or to a process that may be just starting, stays.

    Args:
        folder: where shared memory lies.

    Returns:
        The bytes freed.
    """
    freed = 0
    for lock in folder.glob('fast*_el'):
        if _LOCK.fullmatch(lock.name):
            try:
                freed += _remove_if_dead(lock)
            except (PermissionError, FileNotFoundError):
                pass  # another user's, or another process was faster
    return freed


def _remove_if_dead(lock: Path) -> int:
    if time.time() - lock.stat().st_mtime < _YOUNG_S:
        return 0
    with lock.open('rb') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # its process lives
        segment = lock.with_name(lock.name.removesuffix('_el'))
        size = segment.stat().st_size if segment.exists() else 0
        segment.unlink(missing_ok=True)
        lock.unlink()
    return size
