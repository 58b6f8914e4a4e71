# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exports of checkpoints, kept from one start to the next."""

from __future__ import annotations

from dataclasses import replace
import hashlib
from importlib.metadata import version
import os
from pathlib import Path

from depth_anything_ros.errors import BackendError, CheckpointError
from depth_anything_ros.network.checkpoint import Checkpoint
from depth_anything_ros.network.onnx_file import export, FORMAT, OnnxFile, read


def cache_folder() -> Path:
    """Return where exported networks are kept, by the XDG base directory specification."""
    root = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(root) / 'depth_anything_ros'


def cached(checkpoint: Checkpoint, *, rebuild: bool = False) -> OnnxFile:
    """Return the export of a checkpoint, made now where there is none.

    One file serves every size, precision and backend; its name holds a hash of the weights, of what
    the network is told to predict, and of the libraries that wrote it. Writers may race: each
    writes a file of its own and renames it.

    Args:
        checkpoint: in Hugging Face format or an official .pth file.
        rebuild: make it again although it is there.

    Raises:
        BackendError: the network cannot be exported, or the cache cannot be written.
        CheckpointError: the checkpoint cannot be loaded.
    """
    versions = [f'{name} {version(name)}' for name in ('torch', 'transformers', 'onnx')]
    key = hashlib.sha256('\n'.join([checkpoint.fingerprint(), str(FORMAT), *versions]).encode())
    path = cache_folder() / f'{key.hexdigest()[:32]}.onnx'
    if path.is_file() and not rebuild:
        try:
            found = read(path)
            if found is not None:
                return replace(found, spec=checkpoint.spec)
        except (CheckpointError, ValueError, KeyError):
            pass  # damaged: made again below
    try:
        export(checkpoint.load(), checkpoint.spec, path)
    except OSError as error:
        raise BackendError(
            f'the exported network cannot be written to {path.parent} ({error.strerror}): make '
            'room, or set XDG_CACHE_HOME to another folder'
        ) from error
    found = read(path)
    assert found is not None
    return replace(found, spec=checkpoint.spec)
