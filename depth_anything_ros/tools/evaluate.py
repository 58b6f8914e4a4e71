# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score a network, or saved predictions, on the paper's six data sets, DA-2K, or your own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
import json
import math
from pathlib import Path
import sys
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from depth_anything_ros.config import RuntimeConfig
from depth_anything_ros.errors import DatasetError, DepthAnythingError
from depth_anything_ros.evaluation import pairs
from depth_anything_ros.evaluation.alignment import align_image
from depth_anything_ros.evaluation.datasets import Dataset, DATASETS, load_samples
from depth_anything_ros.evaluation.image_scores import ImageScore, mean_scores, score_image
from depth_anything_ros.evaluation.notes import notes, published, verdict, withheld
from depth_anything_ros.evaluation.paired import paired_difference
from depth_anything_ros.evaluation.predictions import from_folder, from_network, Source
from depth_anything_ros.evaluation.protocols import ALIGNMENTS, BY_HALF, Protocol, REGIONS
from depth_anything_ros.evaluation.published import DA2K, PAPER, REPRODUCED, reproducible
from depth_anything_ros.evaluation.report import (
    picture_row,
    print_pairs,
    print_table,
    write_csv,
    write_pairs_csv,
)
from depth_anything_ros.evaluation.samples import Picture, Sample

_PAIRS = 'da2k'
OWN = 'own'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; a user's mistake is one line on stderr and exit status 2."""
    try:
        args = _parser().parse_args(argv)
        return _run_pairs(args) if args.dataset == _PAIRS else _run(args)
    except DepthAnythingError as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='evaluate', description=__doc__)
    add = parser.add_argument
    add('--dataset', required=True, choices=[*sorted([*DATASETS, _PAIRS]), OWN],
        help=f"{OWN} is your robot's: shards of pack, a bag, or a folder of pictures with depth")
    add('--root', required=True, type=Path, help='folder of the data set')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--checkpoint', help='hub id, folder or .pth file of a network')
    source.add_argument(
        '--predictions', type=Path, help='folder with one .npy per image, named by its stem'
    )
    add('--against', metavar='CHECKPOINT',
        help='score this network on the same images too, and say whether it is better')
    add('--prediction', default='inverse_depth', choices=['inverse_depth', 'depth'],
        help='what the saved predictions are; a checkpoint says it itself')
    add('--align', choices=[*ALIGNMENTS],
        help='; '.join(f'{name}: {meaning}' for name, meaning in ALIGNMENTS.items())
        + f'. Default affine; of {OWN} node, or none where all networks are metric')
    add('--region', choices=sorted(REGIONS), help="pixels that count; default the protocol's")
    add('--split', type=Path, help='text file, one image a line; default all with true depth')
    add('--limit', type=int, help='score the first N images only')
    add('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    precision = RuntimeConfig.__dataclass_fields__['precision'].metadata['choices']
    add('--precision', default='float32', choices=precision,
        help='of a checkpoint, as runtime.precision; default float32, int8 for a file in 8 bits')
    add('--output', type=Path, default=Path('evaluation_output'),
        help='folder for DATASET.csv and DATASET.jpg (best and worst images)')
    add('--json', action='store_true', help='end with one line of JSON on stdout')
    return parser


def _run(args: argparse.Namespace) -> int:
    dataset = _dataset(args)
    if args.region:
        dataset = replace(dataset, protocol=replace(dataset.protocol, region=args.region))
    samples = _samples(args, dataset)
    source = _source(args, samples, dataset.protocol)
    against = None
    if args.against is not None:
        against = from_network(args.against, args.device, dataset.protocol, args.precision)
    align = args.align or _default_alignment(args, source, against)
    scored = _scores(args, samples, source, dataset, align)
    means, parts = mean_scores(scored), _parts(scored, dataset)
    others, difference = [], None
    if against is not None:
        others = _scores(args, samples, against, dataset, align)
        difference = paired_difference(*(
            [score.depth_space['abs_rel'] for score in scores] for scores in (scored, others)))

    csv_path, sheet_path = (args.output / f'{args.dataset}.{kind}' for kind in ('csv', 'jpg'))
    sheet = _best_and_worst(scored, samples, source, dataset, align)
    with _writing(args.output):
        write_csv(csv_path, scored)
        sheet_path.write_bytes(cv2.imencode('.jpg', sheet)[1].tobytes())

    label = str(args.checkpoint or args.predictions)
    part_means = {part: mean_scores(of_part) for part, of_part in parts.items()}
    print_table(Console(), args.dataset, label, means, part_means)
    for note in notes(scored, len(samples), dataset, align, source):
        print(note)
    if difference is not None:
        for note in withheld(others):
            print(f'{args.against}: {note}')
        print(verdict(label, args.against, means['depth_space']['abs_rel'], difference))
    print(f'per image: {csv_path}   best and worst: {sheet_path}')
    if args.json:
        summary = {
            'dataset': args.dataset,
            'images': len(scored),
            'images_without_valid_pixels': len(samples) - len(scored),
            'images_of_protocol': dataset.images,
            'scored': label,
            'prediction': source.space,
            'align': align,
            'arithmetic': source.arithmetic,
            **published(scored),
            **means,
            'parts': {
                part: {'images': len(parts[part]), **of_part}
                for part, of_part in part_means.items()
            },
            'protocol': asdict(dataset.protocol),
            'paper': {k: {'abs_rel': a, 'delta1': d}
                      for k, (a, d) in PAPER.get(args.dataset, {}).items()},
            'against': difference and {'scored': args.against, **published(others),
                                       'abs_rel_difference': asdict(difference)},
            'paper_is_reproducible': reproducible(args.dataset),
            'found_by_others': REPRODUCED.get(args.dataset, {}),
            'csv': str(csv_path),
            'sheet': str(sheet_path),
        }
        print(json.dumps(_finite(summary), allow_nan=False))
    return 0


def _default_alignment(args: argparse.Namespace, source: Source, against: Source | None) -> str:
    """Return what tells most: of one's own pictures, what becomes of the robot's metres."""
    if args.dataset != OWN:
        return 'affine'
    return 'none' if source.metric and (against is None or against.metric) else 'node'


def _dataset(args: argparse.Namespace) -> Dataset:
    if args.dataset in DATASETS:
        return DATASETS[args.dataset]
    if args.split:
        raise DatasetError('--split lists images of a data set; pack --share holds out a part of '
                           'your own')
    from depth_anything_ros.training.own_pictures import own_dataset  # it needs PyTorch
    return own_dataset()


def _samples(args: argparse.Namespace, dataset: Dataset) -> list[Sample]:
    if args.dataset in DATASETS:
        return load_samples(args.dataset, args.root, args.split)[: _limit(args)]
    return dataset.read(args.root)[: _limit(args)]


def _scores(
    args: argparse.Namespace,
    samples: Sequence[Sample],
    source: Source,
    dataset: Dataset,
    align: str,
) -> list[ImageScore]:
    """Score all images; those with too few pixels that count are left out, whatever predicts."""
    protocol, scored = dataset.protocol, []
    for sample in track(samples, args.dataset, console=Console(stderr=True)):
        depth_m = sample.depth_m()
        truth = protocol.cropped(depth_m)
        if protocol.enough(truth, align):
            prediction = source.predict(sample, depth_m.shape)
            scored.append(
                score_image(sample.name, prediction, truth, protocol, source.space, align)
            )
    if not scored:
        raise DatasetError(f'none of the {len(samples)} images has as many as '
                           f'{protocol.min_pixels} pixels that count')
    return scored


def _run_pairs(args: argparse.Namespace) -> int:
    """Score the order of pairs, which knows neither metres nor regions."""
    for option, given in (('--region', args.region), ('--split', args.split),
                          (f'--align {args.align}', args.align in (*BY_HALF, 'none'))):
        if given:
            raise DatasetError(f'{option} means nothing for {_PAIRS}, which has pairs of pixels '
                               'and no depth: leave it out')
    pictures = pairs.load_pairs(args.root)[: _limit(args)]
    source = _source(args, pictures, Protocol())
    scores = []
    for picture in track(pictures, args.dataset, console=Console(stderr=True)):
        prediction = source.predict(picture, picture.image().shape[:2])
        scores.append(pairs.score_pairs(picture, prediction, source.space))
    if not any(score.pairs for score in scores):
        raise DatasetError(f'none of the {len(scores)} images has a pair')
    csv_path = args.output / f'{args.dataset}.csv'
    with _writing(args.output):
        write_pairs_csv(csv_path, scores)
    label, count = str(args.checkpoint or args.predictions), sum(score.pairs for score in scores)
    print_pairs(Console(), label, scores)
    print(f'{len(scores)} images, {count} pairs, {source.space.replace("_", " ")}, '
          f'{source.arithmetic}')
    print(f'per image: {csv_path}')
    if args.json:
        scenes = {scene: pairs.accuracy(of) for scene, of in pairs.by_scene(scores).items()}
        print(json.dumps({
            'dataset': args.dataset, 'images': len(scores), 'pairs': count, 'scored': label,
            'prediction': source.space, 'arithmetic': source.arithmetic,
            'accuracy': pairs.accuracy(scores),
            'scenes': scenes, 'paper': DA2K, 'csv': str(csv_path),
        }))
    return 0


def _limit(args: argparse.Namespace) -> int | None:
    if args.limit is not None and args.limit < 1:
        raise DatasetError(f'--limit must be at least 1, got {args.limit}')
    limit: int | None = args.limit
    return limit


def _source(args: argparse.Namespace, pictures: Sequence[Picture], protocol: Protocol) -> Source:
    """Return what predicts; make the output's folder."""
    if args.predictions:
        source = Source(from_folder(args.predictions, pictures, protocol), args.prediction,
                        'saved predictions', metric=False)
    else:
        source = from_network(args.checkpoint, args.device, protocol, args.precision)
    with _writing(args.output):
        args.output.mkdir(parents=True, exist_ok=True)
    return source


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f'cannot write to {folder} ({error.strerror})') from error


def _parts(scored: Sequence[ImageScore], dataset: Dataset) -> dict[str, list[ImageScore]]:
    """Sort scores by the first folder of their names, where a data set has parts."""
    parts: dict[str, list[ImageScore]] = {}
    for score in scored if dataset.parts else ():
        parts.setdefault(score.name.split('/')[0], []).append(score)
    return parts


def _best_and_worst(
    scored: Sequence[ImageScore],
    samples: Sequence[Sample],
    source: Source,
    dataset: Dataset,
    align: str,
    count: int = 4,
) -> Any:
    """Draw the images with the lowest and the highest depth-space AbsRel; predicts them again."""
    by_name = {sample.name: sample for sample in samples}
    ranked = sorted(scored, key=lambda score: score.depth_space['abs_rel'])
    rows = []
    for score in ranked if len(ranked) <= 2 * count else ranked[:count] + ranked[-count:]:
        sample, protocol = by_name[score.name], dataset.protocol
        depth_m = sample.depth_m()
        prediction = source.predict(sample, depth_m.shape)
        truth = protocol.cropped(depth_m)
        rows.append(
            picture_row(
                f'AbsRel {score.depth_space["abs_rel"]:.3f}  {score.name}',
                _photo(sample, dataset),
                align_image(prediction, truth, protocol, source.space, align).depth_m,
                np.where(protocol.valid(truth), truth, np.nan),
            )
        )
    return np.vstack(rows)


def _photo(sample: Sample, dataset: Dataset) -> Any:
    try:
        return dataset.protocol.cropped(sample.image())
    except DatasetError:  # saved predictions may be scored without the images
        return None


def _finite(value: Any) -> Any:
    """Replace what JSON cannot say (NaN) by null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == '__main__':
    sys.exit(main())
