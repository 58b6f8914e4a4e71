# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
import signal
import sys
import time
from typing import Any

from lightning_fabric import Fabric
import numpy as np
import torch
from transformers.utils.logging import disable_progress_bar

from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.training.config import load_config, TrainConfig
from depth_anything_ros.training.learner import Learner
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.parts import open_parts, schedule
from depth_anything_ros.training.pretrained import start_network
from depth_anything_ros.training.processes import all_lines, joined
from depth_anything_ros.training.record import Recorder, saving

# Settings with which a run that was stopped may go on; data may have been moved.
_MAY_CHANGE = {'data', 'held_out', 'out', 'phases', 'device', 'eval_every', 'eval_count',
               'tensorboard', 'workers', 'accumulate', 'strategy'}


def _require_same_run(config: TrainConfig, theirs: dict[str, Any], folder: Path) -> None:
    """Refuse a state of other settings than those that may change on the way."""
    ours = config.as_plain()
    other = [name for name in ours if name not in _MAY_CHANGE and ours[name] != theirs.get(name)]
    if other:
        raise DepthAnythingError(
            f'{folder} is of a run with other settings ({", ".join(other)}): restore them to go '
            'on, or give another out')


def train(config: TrainConfig) -> None:
    """Train a network and leave it in config.out/checkpoint.

    Args:
        config: the run; it goes on from the newest of config.out/state where there is one.

    Raises:
        DepthAnythingError: data are missing, the loss is no longer a number, or nothing can be
            saved; the last good state and checkpoint stay.
    """
    with joined(config) as fabric:
        _train(config, fabric)


def _train(config: TrainConfig, fabric: Fabric) -> None:
    held_out = open_samples([config.held_out])
    for i in range(min(config.eval_count, len(held_out))):
        held_out[i]  # corrupt ones would end the run at its first score
    torch.manual_seed(config.seed)
    network, input_size = start_network(config)
    learner = Learner(fabric, config, network)
    first, spent_s = 0, 0.0
    if about := learner.state.about():
        _require_same_run(config, about['settings'], learner.state.folder)
        learner.state.read()
        first, spent_s = about['step'], about['seconds']
    started = time.monotonic() - spent_s
    with (open_parts(config, fabric, first) as parts,
          Recorder(config, held_out, first, input_size) if fabric.is_global_zero
          else nullcontext() as recorder):
        for step, (phase, lr) in enumerate(schedule(config), start=1):
            if step <= first:
                continue
            # All chance of a step comes from its number: a resumed run draws what it would have.
            rng = np.random.default_rng([config.seed, step, fabric.global_rank, 3])
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            terms = learner.step(step, phase, lr, parts.of_next_step(), generator)
            row: dict[str, Any] = {'step': step, 'seconds': round(time.monotonic() - started, 1),
                                   'lr': lr, **{name: round(x, 4) for name, x in terms.items()}}
            if skipped := parts.skipped:
                row['skipped'] = len(skipped)
            if step % config.eval_every == 0 or step == config.steps:
                averaged = learner.averaged()
                if recorder is not None:
                    row['held_out'] = recorder.evaluate(averaged, min(phase.sizes[0]))
                with saving(config.out):
                    if recorder is not None:
                        recorder.write_checkpoint(averaged)
                    part = learner.state.write(step, row['seconds'], config.as_plain())
                    if recorder is not None:
                        recorder.put_checkpoint_in_place()
                        learner.state.put_in_place(part)
            if recorder is not None:
                recorder.step(row)
        skipped = all_lines(fabric, parts.skipped)
    if skipped and fabric.is_global_zero:
        print(f'{len(skipped)} corrupt pictures were skipped, others taken in their place:',
              *skipped, sep='\n', file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; a user's mistake is one line on stderr and exit status 2."""
    parser = argparse.ArgumentParser(
        prog='train', description='Train a Depth Anything network; go on where it ended.')
    parser.add_argument('config', type=Path, help='YAML file, such as config/train_world.yaml')
    parser.add_argument('--data', nargs='+', help="replaces the file's data")
    for name in ('held_out', 'out', 'device'):
        parser.add_argument('--' + name.replace('_', '-'), help=f"replaces the file's {name}")
    args = vars(parser.parse_args(argv))
    path = args.pop('config')
    disable_progress_bar()  # of loading and saving: it has its own
    try:
        with _stopped_by(signal.SIGINT, signal.SIGTERM):
            train(load_config(path, {k: v for k, v in args.items() if v is not None}))
    except DepthAnythingError as error:
        print(f'train: {error}', file=sys.stderr)
        return 2
    except _Stopped as stopped:
        print('train: stopped; the same call goes on from the last saved step', file=sys.stderr)
        return 128 + stopped.number
    return 0


class _Stopped(BaseException):
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def _stopped_by(*signals: signal.Signals) -> Iterator[None]:
    """Raise _Stopped where one of these signals comes."""
    def stop(number: int, _: object) -> None:
        raise _Stopped(number)

    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == '__main__':
    sys.exit(main())
