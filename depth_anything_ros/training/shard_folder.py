# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The folder of shards that `pack` or `label` fills: what it is told, and that it is its alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from depth_anything_ros.addresses import Address, PathOrAddress, written_whole
from depth_anything_ros.errors import ConfigError, DatasetError
from depth_anything_ros.training.shards import are_shards

PER_SHARD, JPEG = 1000, 95


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every program that writes shards is told of them."""
    add = parser.add_argument
    add('--per-shard', type=int, default=PER_SHARD, metavar='N',
        help='pictures in each, default %(default)s')
    add('--jpeg', type=int, default=JPEG, metavar='QUALITY',
        help='of the pictures, default %(default)s; 0 writes PNG')


def check(per_shard: int, jpeg: int) -> None:
    """Refuse values of these arguments that mean nothing.

    Raises:
        ConfigError: they are out of range.
    """
    if per_shard < 1:
        raise ConfigError(f'--per-shard {per_shard}: at least 1 is needed')
    if not 0 <= jpeg <= 100:
        raise ConfigError(f'--jpeg {jpeg}: 1 to 100 is needed, or 0 for PNG')


@contextmanager
def filling(out: PathOrAddress, inputs: Sequence[PathOrAddress], program: str) -> Iterator[None]:
    """Make a folder, and keep other runs out of it; the lock goes with the process.

    A store has no locks: there two runs would write each shard both.

    Args:
        out: folder of the shards.
        inputs: that they are made of.
        program: that fills it.

    Raises:
        DatasetError: it is an input, so that shards would become pictures of their own, or another
            run is at work there.
        OSError: it cannot be made on this machine.
        Unreachable: nor in the store.
    """
    for path in inputs:
        if _real(out) in map(_real, (path, path / 'images')):
            raise DatasetError(f'OUT {out} is where the pictures of {path} are: give another')
    out.mkdir(parents=True, exist_ok=True)
    if isinstance(out, Address):
        yield
        return
    with (out / 'lock').open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatasetError(f'another {program} is at work in {out}: wait for it, or give '
                               'another OUT') from error
        _remove_halves(out)  # of runs that were killed
        yield
        _remove_halves(out)  # of workers that were


def _real(place: PathOrAddress) -> PathOrAddress | str:
    return place if isinstance(place, Address) else os.path.realpath(place)


def _remove_halves(folder: Path) -> None:
    for half in folder.glob('*.part'):
        half.unlink()


def require_same(file: PathOrAddress, about: dict[str, Any]) -> None:
    """Refuse to go on with other settings than those that a folder's shards were made by.

    Args:
        file: that says them; written anew where there are no shards yet: a teacher that did not
            load binds nobody.
        about: they, as JSON has them.

    Raises:
        DatasetError: they differ, or nothing says what the shards are that are there.
    """
    if not are_shards(file.parent):
        with written_whole(file) as written:
            written.write(json.dumps(about).encode())
        return
    if not file.is_file():
        raise DatasetError(f'{file.parent} holds shards, and no {file.name} that says what they '
                           'are made of: give another OUT')
    try:
        before = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise DatasetError(f'{file} is corrupt: give another OUT') from error
    if other := [name for name in about if before.get(name) != about[name]]:
        raise DatasetError(f'{file.parent} holds shards of other {", ".join(other)}: give another '
                           'OUT, or the same as before')
