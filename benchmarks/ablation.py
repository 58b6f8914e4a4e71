# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rerun the ablations of Depth Anything (arXiv 2401.10891) at small scale, in four tables.

recipe: its Tables 9 and 12. Labelled pictures are few and of rooms alone, unlabelled ones many and
of rooms, corridors and streets; what counts is depth in streets and corridors that nobody labelled.
control: the student beside labelled pictures alone, as many a step as the student sees of both.
subset: labels of one kind of scene at a time. encoder: one from elsewhere, frozen or tuned.
The encoder to align with, and to start from, is trained on the world's semantic classes.

`python benchmarks/ablation.py --out build/ablation` goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
import json
import os
from pathlib import Path
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from transformers import AutoModelForDepthEstimation

from depth_anything_ros.network.position_embeddings import use_authors_positions
from depth_anything_ros.training.config import (
    LossWeights,
    NetworkConfig,
    Phase,
    StudentConfig,
    TrainConfig,
)
from depth_anything_ros.training.scoring import predict_image, score_each
from depth_anything_ros.training.train import train
from depth_anything_ros.training.world_data import (
    HELD_OUT_SEED,
    open_world,
    render_world,
    VIEWS_PER_SCENE,
)

WIDTH, HEIGHT = 140, 98  # pixels of the rendered pictures
SIZE = (70, 98)  # height and width the networks see
NETWORK = NetworkConfig(hidden_size=96, layers=4, heads=3, neck_sizes=(16, 24, 48, 96),
                        fusion_size=24, input_size=70)
Pictures = tuple[str, int, int, str | None]  # folder, pictures, first seed, kind of scene or any
LABELLED: Pictures = ('labelled', 160, 500_000, 'room')
STREETS: Pictures = ('labelled_street', 160, 510_000, 'street')
CORRIDORS: Pictures = ('labelled_corridor', 160, 520_000, 'corridor')
UNLABELLED: Pictures = ('unlabelled', 3200, 600_000, None)
TESTS: dict[str, Pictures] = {
    kind: (f'test_{kind}', 160, HELD_OUT_SEED + 500_000 + 10_000 * i, kind)
    for i, kind in enumerate(('street', 'corridor', 'room'))
}
UNSEEN = ('street', 'corridor')  # kinds without labels: their mean is the score
TEACHER = 'labelled only'
STUDENT = '+ strong perturbations'
BATCH = 16  # labelled pictures a step
ONLY_CLASSES = LossWeights(ssi=0.0, gradient=0.0, relative=0.0, coarse=0.0, negative=0.0,
                           semantic=1.0)


@dataclass(frozen=True)
class Condition:
    """In what a run differs from the one on labelled pictures of rooms alone.

    Attributes:
        student: settings of a student of that run, with the weight of its alignment; it starts
            afresh from another seed. None is no student.
        labelled: sets of labelled pictures.
        batch: labelled pictures a step.
        afresh: whether it starts from a student's seed.
        encoder_lr: factor on the rate of the encoder, which starts from that of the classes; None
            starts from nothing.
    """

    student: dict[str, Any] | None = None
    labelled: tuple[Pictures, ...] = (LABELLED,)
    batch: int = BATCH
    afresh: bool = False
    encoder_lr: float | None = None


CONDITIONS: dict[str, Condition] = {
    TEACHER: Condition(),
    '+ unlabelled': Condition({'strong': False}),
    STUDENT: Condition({}),
    '+ feature alignment, margin 0.85': Condition({'margin': 0.85}),
    'margin 1.00': Condition({'margin': 1.0}),
    'margin 0.70': Condition({'margin': 0.7}),
    'margin 0.85, weight 0.3': Condition({'margin': 0.85, 'weight': 0.3}),
    'labelled only, equal compute': Condition(batch=3 * BATCH, afresh=True),
    'labelled streets': Condition(labelled=(STREETS,)),
    'labelled corridors': Condition(labelled=(CORRIDORS,)),
    'labelled all three': Condition(labelled=(LABELLED, STREETS, CORRIDORS)),
    'encoder of classes, tuned': Condition(encoder_lr=1.0),
    'encoder of classes, tuned at a tenth': Condition(encoder_lr=0.1),
    'encoder of classes, frozen': Condition(encoder_lr=0.0),
}
ROWS = tuple(CONDITIONS)
TABLES = {  # name -> its rows, the first of which the others are compared with
    'recipe': ROWS[:7],
    'control': (TEACHER, 'labelled only, equal compute', STUDENT),
    'subset': (TEACHER, *ROWS[8:11]),
    'encoder': (TEACHER, *ROWS[11:]),
}


def folder_name(condition: str) -> str:
    """Return a condition's name as a folder's."""
    return condition.strip('+ ').replace(',', '').replace(' ', '_')


def settings(out: Path, data: Path, seed: int, steps: int, batch: int = BATCH) -> TrainConfig:
    """Return what all runs share; labelled pictures are cropped and mirrored, no more."""
    def phase(count: int, start: float, end: float) -> Phase:
        return Phase(steps=count, batch_size=batch, sizes=(SIZE,), lr_from=start, lr_to=end,
                     colours=0.0)

    return TrainConfig(
        data=(data / LABELLED[0],), held_out=data / TESTS['street'][0], out=out, seed=seed,
        network=NETWORK, loss=LossWeights(semantic=0.0), eval_every=steps, eval_count=32,
        phases=(phase(steps // 10, 0.0, 1e-3), phase(steps - steps // 10, 1e-3, 0.0)))


def render_missing(data: Path, sets: Iterable[Pictures], workers: int = 1) -> None:
    """Render the sets of pictures that are not there yet."""
    for name, count, seed, kind in sets:
        about = data / name / 'world.json'
        if not about.is_file():
            render_world(data / name, count, seed, WIDTH, HEIGHT, workers, kind)
        elif (found := json.loads(about.read_text())['count']) != count:
            raise SystemExit(f'{about.parent} has {found} pictures, not {count}: give another '
                             '--out, or as many as before')


def train_encoder(out: Path, data: Path, steps: int) -> None:
    """Train semantic/checkpoint on the classes of the wide pictures; encoder/ is a part of it."""
    folder = out / 'encoder'
    if not (folder / 'config.json').is_file():
        config = settings(out / 'semantic', data, 77, steps)
        train(replace(config, data=(data / UNLABELLED[0],), loss=ONLY_CLASSES,
                      phases=tuple(replace(phase, colours=1.0) for phase in config.phases)))
        network = AutoModelForDepthEstimation.from_pretrained(out / 'semantic' / 'checkpoint',
                                                              dtype=torch.float32)
        network.backbone.save_pretrained(folder)


def config_of(out: Path, data: Path, condition: str, seed: int, steps: int) -> TrainConfig:
    """Return the settings of one run, whose teacher, if it has one, lies beside it."""
    folder, differs = out / f'seed_{seed}' / folder_name(condition), CONDITIONS[condition]
    config = settings(folder, data, seed, steps, differs.batch)
    config = replace(config, data=tuple(data / name for name, _, _, _ in differs.labelled))
    if differs.encoder_lr is not None:
        config = replace(config, init=str(out / 'semantic' / 'checkpoint'), fresh_decoder=True,
                         encoder_lr=differs.encoder_lr)
    if differs.student is not None:
        changed = dict(differs.student)
        loss = replace(config.loss, alignment=changed.pop('weight', 1.0))
        student = StudentConfig(
            teacher=folder.parent / folder_name(TEACHER) / 'checkpoint',
            unlabelled=(data / UNLABELLED[0],),
            encoder=out / 'encoder' if 'margin' in changed else None, **changed)
        config = replace(config, loss=loss, student=student)
    if differs.student is not None or differs.afresh:
        config = replace(config, seed=seed + 100)
    return config


def run(out: Path, data: Path, condition: str, seed: int, steps: int) -> None:
    """Train one network and write its AbsRel on every test picture to scores.json."""
    config = config_of(out, data, condition, seed, steps)
    file = config.out / 'scores.json'
    if file.is_file():
        found = json.loads(file.read_text()).get('steps', steps)
        if found != steps:
            raise SystemExit(f'{file} is of {found} steps, not {steps}: give another --out, or as '
                             'many as before')
        return
    started, worked = time.monotonic(), sum(os.times()[:4])
    train(config)
    scores = score(config.out / 'checkpoint', data)
    minutes, cpu = (time.monotonic() - started) / 60, (sum(os.times()[:4]) - worked) / 60
    file.write_text(json.dumps({'minutes': minutes, 'cpu_minutes': cpu, 'steps': steps, **scores}))
    print(f'seed {seed}, {condition}: ' + ', '.join(
        f'{kind} {np.nanmean(scores[kind]):.3f}' for kind in TESTS)
        + f' ({minutes:.1f} min, {cpu:.1f} of a processor)', flush=True)


def score(checkpoint: Path, data: Path) -> dict[str, list[float]]:
    """AbsRel of every test picture by kind of scene, NaN where too little is in range."""
    network = AutoModelForDepthEstimation.from_pretrained(checkpoint, dtype=torch.float32)
    use_authors_positions(network)
    predict = partial(predict_image, network, short_side=SIZE[0])
    return {kind: [found[0] if found else np.nan
                   for found in score_each(predict, open_world(data / name), count)]
            for kind, (name, count, _, _) in TESTS.items()}


def difference(student: NDArray[np.float64], teacher: NDArray[np.float64], draws: int = 10_000
               ) -> tuple[float, float, float]:
    """Mean paired difference of scores with its 95 % bootstrap interval.

    Args:
        student: SxN scores, seeds by pictures, VIEWS_PER_SCENE neighbours of one scene.
        teacher: SxN of the same seeds and pictures.
        draws: resamples, of seeds and of scenes alike.

    Returns:
        Mean, lower and upper end.
    """
    pairs = student - teacher
    scenes = np.nanmean(pairs.reshape(len(pairs), -1, VIEWS_PER_SCENE), axis=2)
    rng = np.random.default_rng(0)
    means = [np.nanmean(scenes[rng.integers(len(scenes), size=len(scenes))][
        :, rng.integers(scenes.shape[1], size=scenes.shape[1])]) for _ in range(draws)]
    return float(np.nanmean(scenes)), *np.percentile(means, (2.5, 97.5))


def table(out: Path, seeds: int, name: str) -> str:
    """Markdown of one of TABLES: the conditions that have finished for every seed."""
    counted = tuple(TESTS) if name in ('subset', 'encoder') else UNSEEN
    mean = 'all' if counted != UNSEEN else 'streets and corridors'
    lines = [f'| condition | streets | corridors | rooms | {mean}, mean ± spread '
             f'| - {TABLES[name][0]} [95 %] | - row above [95 %] | CPU min |',
             '|---|---|---|---|---|---|---|---|']
    first = above = None
    for condition in TABLES[name]:
        files = [out / f'seed_{seed}' / folder_name(condition) / 'scores.json'
                 for seed in range(seeds)]
        if not all(file.is_file() for file in files):
            continue
        rows = [json.loads(file.read_text()) for file in files]
        by_kind = {kind: np.array([row[kind] for row in rows], dtype=float) for kind in TESTS}
        scores = np.concatenate([by_kind[kind] for kind in counted], axis=1)
        of_seed = np.nanmean(scores, axis=1)
        gains = ['' if other is None else '{:+.4f} [{:+.4f}, {:+.4f}]'.format(
            *difference(scores, other)) for other in (first, above)]
        first, above = scores if first is None else first, scores
        spread = f' ± {of_seed.std(ddof=1):.4f}' if seeds > 1 else ''
        minutes = np.mean([row.get('cpu_minutes', np.nan) for row in rows])
        lines.append(f'| {condition} | ' + ' | '.join(
            f'{np.nanmean(by_kind[kind]):.3f}' for kind in TESTS)
            + f' | {of_seed.mean():.4f}{spread} | ' + ' | '.join(gains) + f' | {minutes:.1f} |')
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('build/ablation'))
    parser.add_argument('--tables', nargs='+', choices=TABLES, default=list(TABLES))
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--steps', type=int, default=500)
    parser.add_argument('--unlabelled', type=int, default=UNLABELLED[1], help='pictures')
    parser.add_argument('--workers', type=int, default=1, help='processes that render')
    args = parser.parse_args(argv)
    data = args.out / 'data'
    wanted = list(dict.fromkeys(row for name in args.tables for row in TABLES[name]))
    labelled = {pictures for row in wanted for pictures in CONDITIONS[row].labelled}
    unlabelled = (UNLABELLED[0], args.unlabelled, *UNLABELLED[2:])
    render_missing(data, (*sorted(labelled), unlabelled, *TESTS.values()), args.workers)
    if {'recipe', 'encoder'} & set(args.tables):
        train_encoder(args.out, data, 2 * args.steps)
    for condition in wanted:
        for seed in range(args.seeds):
            run(args.out, data, condition, seed, args.steps)
    for name in args.tables:
        print(f'\n{name}:', table(args.out, args.seeds, name), sep='\n\n')


if __name__ == '__main__':
    main()
