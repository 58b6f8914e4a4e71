# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind for people and the node: log, learning curve, pictures, checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
import json
from pathlib import Path
import shutil
from typing import Any, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.distributed.checkpoint.api import CheckpointException
from transformers import DepthAnythingForDepthEstimation

from depth_anything_ros.errors import DepthAnythingError, reason
from depth_anything_ros.training.config import TrainConfig
from depth_anything_ros.training.network import is_metric, save_network
from depth_anything_ros.training.sample import Samples
from depth_anything_ros.training.scoring import predict_image, score_world
from depth_anything_ros.training.state import first_cause

_SAMPLES, _SAMPLE_HEIGHT = 6, 240


class Recorder:
    """Writes log.jsonl, samples.png, TensorBoard events and checkpoint/ of a run."""

    def __init__(self, config: TrainConfig, held_out: Samples, first_step: int,
                 input_size: int) -> None:
        self.config, self.held_out, self.input_size = config, held_out, input_size
        with saving(config.out):
            config.out.mkdir(parents=True, exist_ok=True)
            self._log = _continued(config.out / 'log.jsonl', first_step)
        self._progress = Progress(
            TextColumn('training'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn('{task.fields[note]}'))
        self._task = self._progress.add_task('', total=config.steps, completed=first_step, note='')
        self._board = _tensorboard(config.out) if config.tensorboard else None

    def __enter__(self) -> Recorder:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()
        self._log.close()
        if self._board is not None:
            self._board.close()

    def step(self, row: dict[str, Any]) -> None:
        """Log one step's numbers; every tenth and each with a held-out score is kept."""
        self._progress.update(self._task, completed=row['step'])
        if 'held_out' in row:
            self._progress.update(self._task, note=f'AbsRel {row["held_out"]["abs_rel"]:.3f}')
        elif row['step'] % 10:
            return
        with saving(self.config.out):
            print(json.dumps(row), file=self._log, flush=True)
        if self._board is not None:
            for name, value in {**row, **row.get('held_out', {})}.items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, row['step'])

    def evaluate(self, network: DepthAnythingForDepthEstimation, short_side: int
                 ) -> dict[str, float]:
        """Score on the held-out pictures, and show a few of them in samples.png."""
        predict = partial(predict_image, network, short_side=short_side)
        with saving(self.config.out):
            _write_samples(self.config.out / 'samples.png', predict, self.held_out)
        return score_world(predict, self.held_out, self.config.eval_count, is_metric(network))

    def write_checkpoint(self, network: DepthAnythingForDepthEstimation) -> None:
        """Write a checkpoint beside the old one; it counts once put_checkpoint_in_place()."""
        shutil.rmtree(self._part, ignore_errors=True)
        save_network(network, self._part, self.input_size)

    def put_checkpoint_in_place(self) -> None:
        """Replace the old checkpoint by what was written."""
        shutil.rmtree(checkpoint := self.config.out / 'checkpoint', ignore_errors=True)
        self._part.rename(checkpoint)

    @property
    def _part(self) -> Path:
        return self.config.out / 'checkpoint.part'


@contextmanager
def saving(out: Path) -> Iterator[None]:
    """Say in one line why checkpoint and state of a run cannot be written there.

    Raises:
        DepthAnythingError: the disk is full or not writable, or the checkpoint does not answer as
            the network; the old ones stay.
    """
    try:
        yield
    except (OSError, CheckpointException) as error:
        cause = first_cause(error)
        if not isinstance(cause, (OSError, RuntimeError)):  # PyTorch's of a full disk is the latter
            raise
        raise DepthAnythingError(f'cannot save to {out} ({reason(cause)}): make room there or give '
                                 'another out; the last good state stays') from error


def _continued(path: Path, step: int) -> TextIO:
    """Open a log to go on after a step; what a stopped run wrote beyond it will come again."""
    part = path.with_suffix('.part')
    log = part.open('w')
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # cut short
            continue
        if row['step'] <= step:
            print(line, file=log)
    part.replace(path)
    return log


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DepthAnythingError('tensorboard: true needs the package tensorboard: '
                                 'pip install tensorboard') from error
    return SummaryWriter(str(folder))


def _write_samples(path: Path, predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
                   pictures: Samples) -> None:
    """Rows of image, prediction and truth; nearer is brighter."""
    samples = [pictures[i] for i in range(min(_SAMPLES, len(pictures)))]
    height = min(_SAMPLE_HEIGHT, *(len(sample.image_rgb) for sample in samples))
    columns = []
    for sample in samples:
        image = sample.image_rgb
        maps = [_bright(values) for values in (
            predict(image), np.nan_to_num(sample.inverse_depth.astype(np.float32)))]
        width = round(image.shape[1] * height / len(image))
        columns.append(np.vstack([
            cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
            for part in (image[..., ::-1], *maps)]))
    path.write_bytes(cv2.imencode('.png', np.hstack(columns))[1].tobytes())


def _bright(inverse: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(inverse, (1, 99))
    grey = np.clip((inverse - low) / max(float(high - low), 1e-9), 0, 1) ** 0.6
    picture: NDArray[np.uint8] = np.asarray(
        cv2.applyColorMap((255 * grey).astype(np.uint8), cv2.COLORMAP_INFERNO), dtype=np.uint8)
    return picture
