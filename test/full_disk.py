# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A disk, and a /dev/shm, without room, for the process that calls this; imports next to nothing.

The kernel refuses to make files grow, with another number (EFBIG) than that of a full disk.
"""

from __future__ import annotations

import resource
import signal


def no_room(_: object = None, bytes_a_file: int = 0) -> None:
    """Let no file grow beyond so much."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, resource.RLIM_INFINITY))
