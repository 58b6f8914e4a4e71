# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weights files -> finite tensors that are no larger than their file, without running any code."""

from __future__ import annotations

import json
from pathlib import Path
import pickle
import zipfile

import torch
from torch import Tensor

from depth_anything_ros.errors import CheckpointError, reason
from depth_anything_ros.network.threads import torch_threads
from depth_anything_ros.network.untrusted import file_size, read_json, SENSELESS

MOST_BYTES = 4 << 30  # of one file: three times the largest network that is known here
_DTYPES = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8,
    torch.int8, torch.int16, torch.int32, torch.int64,
}
_HEADER_BYTES = 100 << 20  # as the format has it
_SLACK_BYTES = 64 << 20  # what a file may hold beside its network


def files_in(folder: Path) -> list[Path]:
    """List the weights files of a folder in Hugging Face format: one, or the shards of an index.

    Raises:
        CheckpointError: there are none, or the index is broken.
    """
    for name in ('model.safetensors', 'pytorch_model.bin'):
        if (folder / name).exists():
            return [folder / name]
        if (index := folder / f'{name}.index.json').exists():
            shards = read_json(index).section('weight_map')
            names = {shards.text(key) for key in shards.content}
            if not names or any(Path(name).name != name for name in names):
                raise shards.wrong('weight_map', 'the names of files beside it')
            return [folder / name for name in sorted(names)]
    raise CheckpointError(
        f'{folder} has neither model.safetensors nor pytorch_model.bin: download or save it again'
    )


def check_size(files: list[Path], parameters: int, source: Path) -> None:
    """Compare a network with the files that should fill it, before anything is allocated.

    Raises:
        CheckpointError: they cannot belong together, or a file is no regular one.
    """
    size = sum(file_size(file, MOST_BYTES) for file in files)
    if not parameters <= size <= 8 * parameters + _SLACK_BYTES:
        raise CheckpointError(
            f'{source} describes a network of {parameters:,} parameters, but its weights have '
            f'{size:,} bytes: they are truncated or of another configuration, download or save it '
            'again'
        )


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file, or of one that torch.save() wrote.

    Raises:
        CheckpointError: the file is truncated, holds anything but named tensors, or numbers that
            are not finite.
    """
    size = file_size(path, MOST_BYTES)
    state = _safetensors(path) if path.suffix == '.safetensors' else _pickled(path, size)
    storages: dict[int, int] = {}
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and tensor.device.type == 'cpu'
        if not plain or tensor.dtype not in _DTYPES:
            raise CheckpointError(
                f'{path}: {name} is no plain tensor: save model.state_dict() of a network that is '
                'neither quantised nor sparse'
            )
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if tensor.numel() * tensor.element_size() > storage.nbytes():
            raise CheckpointError(f'{path}: {name} claims more than is there: download it again')
    if sum(storages.values()) > size:
        raise CheckpointError(f'{path} claims more tensors than it holds: download it again')
    with torch_threads(1):  # hundreds of short steps: shared, each would wait for a thread
        damaged = [name for name, tensor in state.items() if not _is_finite(tensor)]
    if damaged:
        raise CheckpointError(
            f'{path}: {damaged[0]} holds numbers that are not finite: the weights are damaged, '
            'download or train them again'
        )
    return state


def check_whole(path: Path) -> None:
    """Hold a weights file to its own table of contents; no weights are read.

    Raises:
        CheckpointError: it is truncated, or something else.
    """
    size = file_size(path, MOST_BYTES)
    if path.suffix == '.safetensors':
        ends = _safetensors_end(path, size)
    else:  # of a zip file the table comes last
        ends = size if zipfile.is_zipfile(path) else -1
    if ends != size:
        said = f'is no weights file of {size:,} bytes' if ends < 0 else (
            f'has {size:,} bytes of {ends:,}'
        )
        raise CheckpointError(f'{path} {said}: download it again, it is truncated or a pointer')


def _safetensors_end(path: Path, size: int) -> int:
    """Return how long the header says that the file is; -1 where there is none."""
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if not 2 <= length <= min(size, _HEADER_BYTES):
            return -1
        try:
            header = json.loads(file.read(length))
            ends = [v['data_offsets'][1] for k, v in header.items() if k != '__metadata__']
            return 8 + length + max((int(end) for end in ends), default=0)
        except SENSELESS:
            return -1


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(bool(torch.isfinite(extreme)) for extreme in tensor.aminmax())


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        # Read whole: tensor by tensor, as transformers does, safetensors 0.8 leaks about 30 bytes
        # each, 14 KB every time the node is configured.
        state: dict[str, Tensor] = load(path.read_bytes())
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise CheckpointError(
            f'{path} cannot be loaded ({reason(error, 120)}): download or save it again'
        ) from error
    return state


def _pickled(path: Path, size: int) -> dict[str, Tensor]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > size:
                    raise CheckpointError(
                        f'{path} is packed, which torch.save() never does: download it again'
                    )
        state = torch.load(path, map_location='cpu', weights_only=True)
    except (
        *SENSELESS, EOFError, MemoryError, OSError, pickle.UnpicklingError, zipfile.BadZipFile
    ) as error:  # what unpickling raises on bytes that are no pickle
        raise CheckpointError(
            f'{path} cannot be read as PyTorch weights ({reason(error, 120)}): it may be truncated '
            'or a placeholder of git LFS; download it again'
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(
            f'{path} holds more than the weights of a network (a training state?): save '
            'model.state_dict() alone'
        )
    return state
