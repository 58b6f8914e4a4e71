# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
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
from depth_anything_ros.training.processes import all_lines, asked_by_any, joined
from depth_anything_ros.training.record import Recorder, saving
from depth_anything_ros.training.scoring import require_scorable

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


def train(config: TrainConfig, stop: Callable[[], bool] = lambda: False) -> int:
    """Train a network and leave it in config.out/checkpoint.

    Args:
        config: the run; it goes on from the newest of config.out/state where there is one.
        stop: asked after each step whether to save and end there.

    Returns:
        The step that the run has come to.

    Raises:
        DepthAnythingError: data are missing, the loss is no longer a number, or nothing can be
            saved; the last good state and checkpoint stay.
    """
    with joined(config) as fabric:
        return _train(config, fabric, stop)


def _train(config: TrainConfig, fabric: Fabric, stop: Callable[[], bool]) -> int:
    held_out = open_samples([config.held_out])
    require_scorable(held_out, config.eval_count)
    torch.manual_seed(config.seed)
    network, input_size = start_network(config)
    learner = Learner(fabric, config, network)
    step, first, spent_s = 0, 0, 0.0
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
            stopping = asked_by_any(fabric, stop())
            scored = step % config.eval_every == 0 or step == config.steps
            if scored or stopping:
                averaged = learner.averaged()
                if recorder is not None and scored:
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
            if stopping:
                break
        skipped = all_lines(fabric, parts.skipped)
    if skipped and fabric.is_global_zero:
        print(f'{len(skipped)} corrupt pictures were skipped, others taken in their place:',
              *skipped, sep='\n', file=sys.stderr)
    return step


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
    stopped: list[int] = []
    try:
        with _first_signal(stopped):
            step = train(load_config(path, {k: v for k, v in args.items() if v is not None}),
                         lambda: bool(stopped))
    except DepthAnythingError as error:
        print(f'train: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('train: stopped; the same call goes on from the last saved step', file=sys.stderr)
        return 130
    if stopped:
        print(f'train: stopped and saved at step {step}; the same call goes on from there',
              file=sys.stderr)
        return 128 + stopped[0]
    return 0


@contextmanager
def _first_signal(stopped: list[int]) -> Iterator[None]:
    """Note the first signal that asks the program to end; the next one ends it at once."""
    def note(number: int, _: object) -> None:
        stopped.append(number)
        restore()

    def restore() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        restore()


if __name__ == '__main__':
    sys.exit(main())
