# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager, ExitStack, nullcontext
import copy
import dataclasses
import json
import math
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
import torch.nn.functional as F
from torch.utils.data import ConcatDataset

from depth_anything_ros.errors import DatasetError, DepthAnythingError
from depth_anything_ros.training.config import load_config, LossWeights, Phase, TrainConfig
from depth_anything_ros.training.loading import (
    Batch,
    draws_of_step,
    open_pseudo,
    open_samples,
    Stream,
)
from depth_anything_ros.training.losses import gradient_loss, relative_loss, silog_loss, ssi_loss
from depth_anything_ros.training.network import coarse_targets, is_metric, Trainee
from depth_anything_ros.training.perturbation import strong_colours
from depth_anything_ros.training.pretrained import start_network
from depth_anything_ros.training.processes import join, Processes
from depth_anything_ros.training.record import Recorder
from depth_anything_ros.training.sample import FAR_M, NEAR_M, Sample, UNKNOWN_CLASS
from depth_anything_ros.training.student import Unlabelled

# Settings with which a run that was stopped may go on; data may have been moved.
_MAY_CHANGE = {'data', 'held_out', 'out', 'phases', 'device', 'eval_every', 'eval_count',
               'tensorboard', 'workers'}
# Term -> the loss of the paper that it is part of; the others are of labelled pictures.
_LOSS_OF = {'unlabelled': 'unlabelled', 'pseudo_gradient': 'unlabelled', 'alignment': 'alignment'}


def labelled_loss(trainee: Trainee, image: Tensor, inverse_depth: Tensor, semantic: Tensor,
                  silog_lambda: float = 0.85) -> dict[str, Tensor]:
    """Terms of the loss of labelled pictures, named as their weights.

    Args:
        trainee: the network.
        image: Bx3xHxW float32 RGB, 0 to 1.
        inverse_depth: BxHxW float32; 0 for sky, NaN where unknown.
        semantic: BxHxW int64.
        silog_lambda: of silog_loss().
    """
    prediction, coarse, logits = trainee(image)
    valid = inverse_depth.isfinite()  # sky is valid: 0, the farthest
    inverse_depth = inverse_depth.nan_to_num()
    ranged = (inverse_depth > 1 / FAR_M) & (inverse_depth < 1 / NEAR_M)
    target = inverse_depth.clamp(max=1 / NEAR_M)
    small = coarse_targets(target, coarse.shape[1:])
    known = coarse_targets(valid, coarse.shape[1:]) > 0
    classes = coarse_targets(semantic, coarse.shape[1:]).long()
    named = int((classes != UNKNOWN_CLASS).sum())
    semantic_error = F.cross_entropy(logits, classes, ignore_index=UNKNOWN_CLASS, reduction='sum')
    terms = {'coarse': ssi_loss(coarse, small, known), 'semantic': semantic_error / max(named, 1)}
    if is_metric(trainee.network):
        target_m = 1 / target.clamp(min=1e-6)
        return {'silog': silog_loss(prediction, target_m, ranged, silog_lambda), **terms}
    return {
        'ssi': ssi_loss(prediction, target, valid),
        'gradient': gradient_loss(prediction, target, valid),
        'relative': relative_loss(prediction, target, ranged),
        **terms,
        'negative': F.relu(-prediction).mean(),
    }


def weigh(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """Average of the labelled, the unlabelled and the alignment loss, of those that are there.

    Each is the sum of its terms times their weights.

    Source: Depth Anything (arXiv 2401.10891), the end of section 3.3.
    """
    losses: dict[str, list[Tensor]] = {}
    for name, term in terms.items():
        losses.setdefault(_LOSS_OF.get(name, 'labelled'), []).append(getattr(weights, name) * term)
    return torch.stack([torch.stack(parts).sum() for parts in losses.values()]).mean()


def _on_device(batch: Batch, device: str) -> tuple[Tensor, Tensor, Tensor]:
    return (batch.image_rgb.to(device).float() / 255, batch.inverse_depth.to(device),
            batch.semantic.to(device))


def _schedule(config: TrainConfig) -> Iterator[tuple[Phase, float]]:
    for phase in config.phases:
        for i in range(phase.steps):
            yield phase, phase.lr_from + (phase.lr_to - phase.lr_from) * (i + 1) / phase.steps


def _optimizer(trainee: Trainee, config: TrainConfig) -> torch.optim.Optimizer:
    groups = []
    for encoder in (True, False):
        named = [p for name, p in trainee.named_parameters()
                 if name.startswith('network.backbone.') == encoder]
        for matrices in (True, False):
            chosen = [p for p in named if (p.ndim >= 2 and p.shape[0] > 1) == matrices]
            groups.append({'params': chosen, 'factor': config.encoder_lr if encoder else 1.0,
                           'weight_decay': config.weight_decay if matrices else 0.0})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


@contextmanager
def _streams(config: TrainConfig, processes: Processes, first: int
             ) -> Iterator[dict[str, Stream]]:
    """Open the pictures of a run from the step after `first`: 'labelled', 'unlabelled', or both."""
    mine = slice(processes.rank, None, processes.count)

    def stream(number: int, samples: ConcatDataset[Sample], ratio: int) -> Stream:
        draws = (draws_of_step(phase, config.seed, step, number, len(samples),
                               phase.batch_size * ratio)[mine]
                 for step, (phase, _) in enumerate(_schedule(config), start=1) if step > first)
        return Stream(samples, draws, config.workers)

    with ExitStack() as stack:
        streams = {}
        if config.labelled:
            data = open_samples(config.data)
            if (largest := max(phase.batch_size for phase in config.phases)) > len(data):
                raise DatasetError(f'data hold {len(data)} pictures and a batch_size is {largest}: '
                                   'add pictures or lower it')
            streams['labelled'] = stack.enter_context(closing(stream(1, data, 1)))
        if (student := config.student) is not None:
            if student.pseudo:
                extra = open_pseudo(student.pseudo, student.confidence)
            else:
                extra = open_samples(student.unlabelled, with_depth=False)
            streams['unlabelled'] = stack.enter_context(closing(stream(2, extra, student.ratio)))
        yield streams


def _require_same_run(config: TrainConfig, state: dict[str, Any], file: Path) -> None:
    """Refuse a state of other settings than those that may change on the way."""
    ours, theirs = config.as_plain(), json.loads(state.get('settings', '{}'))
    other = [name for name in ours if name not in _MAY_CHANGE and ours[name] != theirs.get(name)]
    if not theirs:
        raise DepthAnythingError(f'{file} is of an earlier version, whose losses were others: '
                                 'remove it, and give its checkpoint as init to go on from there')
    if other:
        raise DepthAnythingError(
            f'{file} is of a run with other settings ({", ".join(other)}): restore them to go on, '
            'or give another out')


@torch.no_grad()
def _average(ema: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    for kept, new in zip(ema.parameters(), network.parameters()):
        kept.lerp_(new, 1 - decay)


def train(config: TrainConfig) -> None:
    """Train a network and leave it in config.out/checkpoint.

    Args:
        config: the run; it goes on from config.out/state.pt where that exists.

    Raises:
        DepthAnythingError: data are missing, the loss is no longer a number, or nothing can be
            saved; the last good state and checkpoint stay.
    """
    processes = join(config.device)
    device = processes.device
    smallest = min(phase.batch_size for phase in config.phases)
    if smallest < processes.count:
        raise DepthAnythingError(f'a batch_size is {smallest} and there are {processes.count} '
                                 'processes, each of which needs a picture: raise it')
    held_out = open_samples([config.held_out])
    for i in range(min(config.eval_count, len(held_out))):
        held_out[i]  # corrupt ones would end the run at its first score
    torch.manual_seed(config.seed)
    network, input_size = start_network(config)
    trainee = Trainee(network).to(device)
    trainee.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = copy.deepcopy(trainee.network).requires_grad_(False)
    optimizer = _optimizer(trainee, config)
    unlabelled = None
    if config.student is not None:
        unlabelled = Unlabelled(config.student, device)
    first, spent_s = 0, 0.0
    if (state_file := config.out / 'state.pt').is_file():
        state = torch.load(state_file, map_location=device, weights_only=True)
        _require_same_run(config, state, state_file)
        trainee.load_state_dict(state['trainee'])
        ema.load_state_dict(state['ema'])
        optimizer.load_state_dict(state['optimizer'])
        first, spent_s = state['step'], state['seconds']
    started = time.monotonic() - spent_s
    with (_streams(config, processes, first) as streams,
          Recorder(config, held_out, first, input_size) if processes.rank == 0
          else nullcontext() as recorder):
        for step, (phase, lr) in enumerate(_schedule(config), start=1):
            if step <= first:
                continue
            # All chance of a step comes from its number: a resumed run draws what it would have.
            rng = np.random.default_rng([config.seed, step, processes.rank, 3])
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            terms: dict[str, Tensor] = {}
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.bf16):
                if 'labelled' in streams:
                    image, inverse, classes = _on_device(next(streams['labelled']), device)
                    image = strong_colours(image, generator, phase.colours)
                    terms = labelled_loss(trainee, image, inverse, classes,
                                          config.loss.silog_lambda)
                if unlabelled is not None:
                    clean, stored, _ = _on_device(next(streams['unlabelled']), device)
                    terms.update(unlabelled(trainee, clean, generator, stored))
                weights = dataclasses.replace(
                    config.loss, relative=config.loss.relative * phase.relative)
                loss = weigh(terms, weights)
            if not math.isfinite(float(loss.detach())):
                raise DepthAnythingError(
                    f'the loss is {float(loss.detach())} at step {step}: lower the learning rate; '
                    f'the last good state is {state_file}')
            for group in optimizer.param_groups:
                group['lr'] = lr * group['factor']
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            processes.share_gradients(trainee)
            torch.nn.utils.clip_grad_norm_(trainee.parameters(), config.clip)
            optimizer.step()
            _average(ema, trainee.network, min(config.ema, 1 - 10 / (10 + step)))
            row: dict[str, Any] = {'step': step, 'seconds': round(time.monotonic() - started, 1),
                                   'lr': lr}
            row.update({name: round(float(term.detach()), 4) for name, term in terms.items()})
            if skipped := _skipped(streams):
                row['skipped'] = len(skipped)
            if step % config.eval_every == 0 or step == config.steps:
                row['weights_differ'] = processes.disagreement(trainee)
                if recorder is not None:
                    row['held_out'] = recorder.evaluate(ema, min(phase.sizes[0]))
                    recorder.save(ema, {
                        'trainee': trainee.state_dict(), 'ema': ema.state_dict(), 'step': step,
                        'optimizer': optimizer.state_dict(), 'seconds': row['seconds'],
                        'settings': json.dumps(config.as_plain())})
            if recorder is not None:
                recorder.step(row)
    if (lines := processes.together(_skipped(streams))) and processes.rank == 0:
        print(f'{len(lines)} corrupt pictures were skipped, others taken in their place:', *lines,
              sep='\n', file=sys.stderr)
    processes.leave()


def _skipped(streams: dict[str, Stream]) -> list[str]:
    return [text for stream in streams.values() for text in stream.skipped]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Train a Depth Anything network.')
    parser.add_argument('config', type=Path, help='YAML file, such as config/train_world.yaml')
    parser.add_argument('--data', nargs='+', help="replaces the file's data")
    for name in ('held_out', 'out', 'device'):
        parser.add_argument('--' + name.replace('_', '-'), help=f"replaces the file's {name}")
    args = vars(parser.parse_args())
    path = args.pop('config')
    try:
        train(load_config(path, {k: v for k, v in args.items() if v is not None}))
    except DepthAnythingError as error:
        sys.exit(f'train: {error}')


if __name__ == '__main__':
    main()
