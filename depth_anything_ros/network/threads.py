# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many threads of the CPU the network may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os

import torch


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let PyTorch work on so many threads of the CPU until the block ends."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def thread_count(threads: int) -> int:
    """Turn runtime.threads into a number of threads; 0 leaves a core of more than two."""
    if threads:
        return threads
    told = os.environ.get('OMP_NUM_THREADS', '')
    if told.isdecimal() and int(told):
        return int(told)
    cores = len(os.sched_getaffinity(0))
    return cores if cores <= 2 else cores - 1
