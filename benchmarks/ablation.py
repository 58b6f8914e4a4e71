# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rerun the ablations of Depth Anything (arXiv 2401.10891, Tables 9 and 12) at small scale.

Labelled pictures are few and of rooms alone, unlabelled ones many and of rooms, corridors and
streets; what counts is depth in streets and corridors that nobody labelled. The frozen encoder is
trained on the world's semantic classes.

`python benchmarks/ablation.py --out build/ablation` goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
import json
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
UNLABELLED: Pictures = ('unlabelled', 3200, 600_000, None)
TESTS: dict[str, Pictures] = {
    kind: (f'test_{kind}', 160, HELD_OUT_SEED + 500_000 + 10_000 * i, kind)
    for i, kind in enumerate(('street', 'corridor', 'room'))
}
UNSEEN = ('street', 'corridor')  # kinds without labels: their mean is the score
TEACHER = 'labelled only'
ONLY_CLASSES = LossWeights(ssi=0.0, gradient=0.0, relative=0.0, coarse=0.0, negative=0.0,
                           semantic=1.0)
STUDENTS: dict[str, dict[str, Any]] = {  # settings of the student, and the weight of its alignment
    '+ unlabelled': {'strong': False},
    '+ strong perturbations': {},
    '+ feature alignment, margin 0.85': {'margin': 0.85},
    'margin 1.00': {'margin': 1.0},
    'margin 0.70': {'margin': 0.7},
    'margin 0.85, weight 0.3': {'margin': 0.85, 'weight': 0.3},
}


def folder_name(condition: str) -> str:
    """Return a condition's name as a folder's."""
    return condition.strip('+ ').replace(',', '').replace(' ', '_')


def settings(out: Path, data: Path, seed: int, steps: int) -> TrainConfig:
    """Return what all runs share; labelled pictures are cropped and mirrored, no more."""
    def phase(count: int, start: float, end: float) -> Phase:
        return Phase(steps=count, batch_size=16, sizes=(SIZE,), lr_from=start, lr_to=end,
                     colours=0.0)

    return TrainConfig(
        data=(data / LABELLED[0],), held_out=data / TESTS['street'][0], out=out, seed=seed,
        network=NETWORK, loss=LossWeights(semantic=0.0), eval_every=steps, eval_count=32,
        phases=(phase(steps // 10, 0.0, 1e-3), phase(steps - steps // 10, 1e-3, 0.0)))


def render_missing(data: Path, sets: Iterable[Pictures], workers: int = 1) -> None:
    """Render the sets of pictures that are not there yet."""
    for name, count, seed, kind in sets:
        if not (data / name / 'world.json').is_file():
            render_world(data / name, count, seed, WIDTH, HEIGHT, workers, kind)


def train_encoder(out: Path, data: Path, steps: int) -> Path:
    """Train the frozen encoder on semantic classes of the wide pictures; return its folder."""
    folder = out / 'encoder'
    if not (folder / 'config.json').is_file():
        config = settings(out / 'semantic', data, 77, steps)
        train(replace(config, data=(data / UNLABELLED[0],), loss=ONLY_CLASSES,
                      phases=tuple(replace(phase, colours=1.0) for phase in config.phases)))
        network = AutoModelForDepthEstimation.from_pretrained(out / 'semantic' / 'checkpoint',
                                                              dtype=torch.float32)
        network.backbone.save_pretrained(folder)
    return folder


def run(out: Path, data: Path, condition: str, seed: int, steps: int, encoder: Path) -> None:
    """Train one network and write its AbsRel on every test picture to scores.json."""
    folder = out / f'seed_{seed}' / folder_name(condition)
    if (folder / 'scores.json').is_file():
        return
    started = time.monotonic()
    config = settings(folder, data, seed, steps)
    if condition != TEACHER:
        changed = dict(STUDENTS[condition])
        loss = replace(config.loss, alignment=changed.pop('weight', 1.0))
        student = StudentConfig(
            teacher=folder.parent / folder_name(TEACHER) / 'checkpoint',
            unlabelled=(data / UNLABELLED[0],), encoder=encoder if 'margin' in changed else None,
            **changed)
        config = replace(config, loss=loss, student=student, seed=seed + 100)  # a fresh start
    train(config)
    scores = score(folder / 'checkpoint', data)
    minutes = (time.monotonic() - started) / 60
    (folder / 'scores.json').write_text(json.dumps({'minutes': minutes, **scores}))
    print(f'seed {seed}, {condition}: ' + ', '.join(
        f'{kind} {np.nanmean(scores[kind]):.3f}' for kind in TESTS) + f' ({minutes:.1f} min)',
        flush=True)


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


def table(out: Path, seeds: int) -> str:
    """Markdown table of what has finished."""
    lines = ['| condition | streets | corridors | rooms | streets and corridors, mean ± spread '
             '| - labelled only [95 %] | - row above [95 %] |', '|---|---|---|---|---|---|---|']
    teachers = above = None
    for condition in (TEACHER, *STUDENTS):
        files = [out / f'seed_{seed}' / folder_name(condition) / 'scores.json'
                 for seed in range(seeds)]
        if not all(file.is_file() for file in files):
            continue
        rows = [json.loads(file.read_text()) for file in files]
        by_kind = {kind: np.array([row[kind] for row in rows], dtype=float) for kind in TESTS}
        unseen = np.concatenate([by_kind[kind] for kind in UNSEEN], axis=1)
        of_seed = np.nanmean(unseen, axis=1)
        gains = ['' if other is None else '{:+.4f} [{:+.4f}, {:+.4f}]'.format(
            *difference(unseen, other)) for other in (teachers, above)]
        teachers, above = unseen if teachers is None else teachers, unseen
        lines.append(f'| {condition} | ' + ' | '.join(
            f'{np.nanmean(by_kind[kind]):.3f}' for kind in TESTS)
            + f' | {of_seed.mean():.4f} ± {of_seed.std(ddof=1):.4f} | '
            + ' | '.join(gains) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('build/ablation'))
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--steps', type=int, default=500)
    parser.add_argument('--workers', type=int, default=1, help='processes that render')
    args = parser.parse_args()
    data = args.out / 'data'
    render_missing(data, (LABELLED, UNLABELLED, *TESTS.values()), args.workers)
    encoder = train_encoder(args.out, data, 2 * args.steps)
    for seed in range(args.seeds):
        for condition in (TEACHER, *STUDENTS):
            run(args.out, data, condition, seed, args.steps, encoder)
    print(table(args.out, args.seeds))


if __name__ == '__main__':
    main()
