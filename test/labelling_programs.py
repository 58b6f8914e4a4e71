# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`label` in a process of its own that starts fast, and networks that its workers find."""

from __future__ import annotations

from collections.abc import Sequence
import multiprocessing
from multiprocessing.process import BaseProcess
import os
from pathlib import Path
import signal
import sys
from typing import Any

import torch

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.tools.label import main

# Forked from a process that has imported all of it, and nothing else.
PROCESSES = multiprocessing.get_context('forkserver')
PROCESSES.set_forkserver_preload([__name__])


def start(arguments: Sequence[object]) -> BaseProcess:
    """Start `label`; its exit code is that of the process."""
    process = PROCESSES.Process(target=_label, args=([str(word) for word in arguments],))
    process.start()
    return process


def _label(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    sys.exit(main(arguments))


class Red:
    """Says the red of its input."""

    device = torch.device('cpu')
    spec = ModelSpec('red', 'inverse_depth', metric=False, input_size=28)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        red = image[:, 0] * 0.229 + 0.485
        return red[0] if len(image) == 1 else red


class Mortal(Red):
    """Kills its process at its third picture, if a file beside the checkpoint says so."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._views = folder, 0

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self._views += 1
        if self._views == 5:
            for file in self._folder.glob('kill*'):
                file.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(image)


def red(model: ModelConfig, runtime: RuntimeConfig) -> Red:
    return Red()


def mortal(model: ModelConfig, runtime: RuntimeConfig) -> Red:
    return Mortal(Path(model.checkpoint))


def broken(model: ModelConfig, runtime: RuntimeConfig) -> Any:
    raise CheckpointError('there is no network: look elsewhere')
