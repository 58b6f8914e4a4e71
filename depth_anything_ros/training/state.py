# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The state that a run goes on from, of which each process writes and reads its own part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
from pathlib import Path
import pickle
import shutil
from typing import Any
import warnings

from lightning_fabric import Fabric
import torch
from torch import nn, Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from depth_anything_ros.errors import DepthAnythingError, reason

_ABOUT = 'about.json'


class State:
    """Weights, their average and the optimizer's moments, in out/state/STEP.

    More or fewer processes may read them than wrote them, and under the other strategy.
    """

    def __init__(self, out: Path, trainee: nn.Module, optimizer: torch.optim.Optimizer,
                 ema: dict[str, Tensor], fabric: Fabric) -> None:
        self._folder, self._fabric = out / 'state', fabric
        self._trainee, self._optimizer, self._ema = trainee, optimizer, ema
        self._alone = fabric.world_size == 1

    def about(self) -> dict[str, Any]:
        """Return the newest state's 'step', 'seconds' and 'settings'; nothing without any.

        Raises:
            DepthAnythingError: it cannot be read, or is of an earlier version.
        """
        if (old := self._folder.with_suffix('.pt')).is_file():
            raise DepthAnythingError(f'{old} is of an earlier version: remove it, and give its '
                                     'checkpoint as init to go on from there')
        if (newest := newest_state(self._folder.parent)) is None:
            return {}
        with _reading(newest):
            about = json.loads((newest / _ABOUT).read_text())
            return {name: about[name] for name in ('step', 'seconds', 'settings')}

    @property
    def folder(self) -> Path:
        """The newest state, or where it will be."""
        return newest_state(self._folder.parent) or self._folder

    def read(self) -> None:
        """Take over the newest state.

        Raises:
            DepthAnythingError: it cannot be read.
        """
        tensors = self._tensors()
        with _reading(self.folder):
            (self.folder / '.metadata').stat()  # PyTorch would say at length that it is not there
            load(tensors, checkpoint_id=self.folder, no_dist=self._alone)
        set_model_state_dict(self._trainee, tensors['trainee'])
        set_optimizer_state_dict(self._trainee, self._optimizer, tensors['optimizer'])

    def write(self, step: int, seconds: float, settings: dict[str, Any]) -> Path:
        """Write a state, called by all processes; it counts once put_in_place().

        Raises:
            OSError or CheckpointException: it cannot be written.
        """
        part = self._folder / f'{step}.part'
        if self._fabric.is_global_zero:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            (part / _ABOUT).write_text(json.dumps(
                {'step': step, 'seconds': seconds, 'settings': settings}))
        self._fabric.barrier()
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'torch.distributed is disabled')  # as it should be
            save(self._tensors(), checkpoint_id=part, no_dist=self._alone)
        return part

    def put_in_place(self, part: Path) -> None:
        """Make what was written the newest state, and remove the older ones."""
        newest = part.with_suffix('')
        part.rename(newest)
        for other in self._folder.iterdir():
            if other != newest:
                shutil.rmtree(other)

    def _tensors(self) -> dict[str, Any]:
        return {'trainee': get_model_state_dict(self._trainee),
                'optimizer': get_optimizer_state_dict(self._trainee, self._optimizer),
                'ema': self._ema}


def read_weights(out: Path, name: str, module: nn.Module) -> None:
    """Give a module the weights of a run's newest state.

    Args:
        out: folder of the run.
        name: 'ema', of the averaged network, or 'trainee'.
        module: of the run's sizes, on the CPU.
    """
    tensors = {name: module.state_dict()}
    load(tensors, checkpoint_id=newest_state(out), no_dist=True)
    module.load_state_dict(tensors[name])


def first_cause(error: BaseException) -> BaseException:
    """Return what went wrong in the first process, of an error of the distributed checkpoint."""
    if isinstance(error, CheckpointException):
        cause, _ = next(iter(error.failures.values()))
        return cause
    return error


def newest_state(out: Path) -> Path | None:
    """Return the folder of a run's newest state, if it has any."""
    found = [path for path in (out / 'state').glob('*') if path.name.isdecimal()]
    return max(found, key=lambda path: int(path.name), default=None)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'torch.distributed is disabled')  # as it should be
            yield
    except (OSError, EOFError, pickle.UnpicklingError, ValueError, KeyError,
            CheckpointException) as error:
        raise DepthAnythingError(
            f'{folder} cannot be read ({reason(first_cause(error))}): remove {folder.parent}, and '
            "give the run's checkpoint as init to go on from there") from error
