# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exports of checkpoints, kept from one start to the next."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
import hashlib
from importlib.metadata import PackageNotFoundError, version
import logging
import os
from pathlib import Path
import tempfile
import time

from depth_anything_ros.errors import BackendError, CheckpointError
from depth_anything_ros.network.checkpoint import Checkpoint
from depth_anything_ros.network.onnx_file import export, FORMAT, OnnxFile, read

_NAME = 'depth_anything_ros'
_ORPHAN_S = 3600.0  # a file that was begun so long ago has lost its writer


def cache_folder() -> Path:
    """Return the folder where exported networks are kept, made where it is absent.

    It follows the XDG base directory specification. Where there is no such folder that can be
    written (a container without HOME), it is one of this user's in the folder for temporary files.

    Raises:
        BackendError: that cannot be written either.
    """
    home = os.path.expanduser('~') if os.environ.get('HOME', '~') else ''
    folder = Path(os.environ.get('XDG_CACHE_HOME') or Path(home, '.cache')) / _NAME
    if folder.is_absolute() and _is_usable(folder):
        return folder
    instead = Path(tempfile.gettempdir()) / f'{_NAME}-{os.getuid()}'
    if not _is_usable(instead) or instead.is_symlink() or instead.stat().st_uid != os.getuid():
        raise BackendError(
            f'neither {folder} nor {instead} can be written, where exported networks are kept: set '
            'XDG_CACHE_HOME to a folder that can, or runtime.backend to torch'
        )
    logging.getLogger(__name__).warning(
        '%s cannot be written: exported networks are kept in %s until it is cleared; set '
        'XDG_CACHE_HOME to a folder that stays', folder, instead,
    )
    return instead


def _is_usable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, ValueError):
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _remove_orphans(folder: Path) -> None:
    """Remove what writers that were killed left behind."""
    for part in folder.glob('*.part'):
        with suppress(OSError):  # another process was faster
            if part.stat().st_mtime < time.time() - _ORPHAN_S:
                part.unlink()


def _version(package: str) -> str:
    try:
        return f'{package} {version(package)}'
    except PackageNotFoundError:  # run from its sources
        return f'{package} from source'


def cached(checkpoint: Checkpoint, *, rebuild: bool = False) -> OnnxFile:
    """Return the export of a checkpoint, made now where there is none.

    One file serves every size, precision and backend; its name holds a hash of the weights, of what
    the network is told to predict, and of the programs that wrote it. Writers may race: each
    writes a file of its own and renames it.

    Args:
        checkpoint: in Hugging Face format or an official .pth file.
        rebuild: make it again although it is there.

    Raises:
        BackendError: the network cannot be exported, or the cache cannot be written.
        CheckpointError: the checkpoint cannot be loaded.
    """
    versions = [_version(name) for name in (_NAME, 'torch', 'transformers', 'onnx')]
    key = hashlib.sha256('\n'.join([checkpoint.fingerprint(), str(FORMAT), *versions]).encode())
    folder = cache_folder()
    path = folder / f'{key.hexdigest()[:32]}.onnx'
    if path.is_file() and not rebuild:
        with suppress(CheckpointError):  # damaged, or of another version: made again below
            found = read(path, trusted=True)
            if found is not None:
                return replace(found, spec=checkpoint.spec)
    try:
        _remove_orphans(folder)
        export(checkpoint.load(), checkpoint.spec, path)
    except OSError as error:
        raise BackendError(
            f'the exported network cannot be written to {path.parent} ({error.strerror}): make '
            'room, or set XDG_CACHE_HOME to another folder'
        ) from error
    found = read(path, trusted=True)
    assert found is not None
    return replace(found, spec=checkpoint.spec)
