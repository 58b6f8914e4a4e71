# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score a network, or saved predictions, on one of the six data sets of the paper, or your own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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

from depth_anything_ros.errors import DatasetError, DepthAnythingError
from depth_anything_ros.evaluation.datasets import Dataset, DATASETS, load_samples, Sample
from depth_anything_ros.evaluation.paired import Difference, paired_difference
from depth_anything_ros.evaluation.predictions import from_folder, from_network, Predict
from depth_anything_ros.evaluation.protocols import (
    aligned_depth,
    ImageScore,
    mean_scores,
    REGIONS,
    score_image,
)
from depth_anything_ros.evaluation.report import PAPER, picture_row, print_table, write_csv

OWN = 'own'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; a user's mistake is one line on stderr and exit status 2."""
    try:
        return _run(_parser().parse_args(argv))
    except DepthAnythingError as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='evaluate', description=__doc__)
    add = parser.add_argument
    add('--dataset', required=True, choices=[*sorted(DATASETS), OWN],
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
    add('--align', default='affine', choices=['affine', 'none'],
        help='least squares scale and shift per image, or take the prediction as metric')
    add('--region', choices=sorted(REGIONS), help="pixels that count; default the protocol's")
    add('--split', type=Path, help='text file, one image a line; default all with true depth')
    add('--limit', type=int, help='score the first N images only')
    add('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    add('--output', type=Path, default=Path('evaluation_output'),
        help='folder for DATASET.csv and DATASET.jpg (best and worst images)')
    add('--json', action='store_true', help='end with one line of JSON on stdout')
    return parser


def _run(args: argparse.Namespace) -> int:
    dataset = _dataset(args)
    if args.region:
        dataset = replace(dataset, protocol=replace(dataset.protocol, region=args.region))
    if args.limit is not None and args.limit < 1:
        raise DatasetError(f'--limit must be at least 1, got {args.limit}')
    samples = _samples(args, dataset)
    if args.predictions:
        predict, space = from_folder(args.predictions, samples, dataset.protocol), args.prediction
    else:
        predict, space = from_network(args.checkpoint, args.device, dataset.protocol)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f'cannot write to {args.output} ({error.strerror})') from error

    scored = _scores(args, samples, predict, dataset, space)
    means = mean_scores(scored)
    difference = None
    if args.against is not None:
        other, its_space = from_network(args.against, args.device, dataset.protocol)
        difference = paired_difference(*(
            [score.depth_space['abs_rel'] for score in scores]
            for scores in (scored, _scores(args, samples, other, dataset, its_space))))

    csv_path, sheet_path = (args.output / f'{args.dataset}.{kind}' for kind in ('csv', 'jpg'))
    sheet = _best_and_worst(scored, samples, predict, dataset, space)
    try:
        write_csv(csv_path, scored)
        sheet_path.write_bytes(cv2.imencode('.jpg', sheet)[1].tobytes())
    except OSError as error:
        raise DatasetError(f'cannot write to {args.output} ({error.strerror})') from error

    label = str(args.checkpoint or args.predictions)
    print_table(Console(), args.dataset, label, means)
    for note in _notes(scored, len(samples), dataset, args.align, space):
        print(note)
    if difference is not None:
        print(_verdict(label, args.against, means['depth_space']['abs_rel'], difference))
    print(f'per image: {csv_path}   best and worst: {sheet_path}')
    if args.json:
        summary = {
            'dataset': args.dataset,
            'images': len(scored),
            'images_without_valid_pixels': len(samples) - len(scored),
            'images_of_protocol': dataset.images,
            'scored': label,
            'prediction': space,
            'align': args.align,
            **means,
            'protocol': asdict(dataset.protocol),
            'paper': {k: {'abs_rel': a, 'delta1': d}
                      for k, (a, d) in PAPER.get(args.dataset, {}).items()},
            'against': difference and {'scored': args.against, 'abs_rel_difference':
                                       asdict(difference)},
            'csv': str(csv_path),
            'sheet': str(sheet_path),
        }
        print(json.dumps(_finite(summary), allow_nan=False))
    return 0


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
        return load_samples(args.dataset, args.root, args.split)[: args.limit]
    return dataset.read(args.root)[: args.limit]


def _scores(
    args: argparse.Namespace,
    samples: Sequence[Sample],
    predict: Predict,
    dataset: Dataset,
    space: str,
) -> list[ImageScore]:
    """Score all images; those with too few pixels that count are left out, whatever predicts."""
    protocol, scored = dataset.protocol, []
    for sample in track(samples, args.dataset, console=Console(stderr=True)):
        depth_m = sample.depth_m()
        truth = protocol.cropped(depth_m)
        if protocol.valid(truth).sum() >= protocol.min_pixels:
            prediction = predict(sample, depth_m.shape)
            scored.append(
                score_image(sample.name, prediction, truth, protocol, space, args.align)
            )
    if not scored:
        raise DatasetError(f'none of the {len(samples)} images has as many as '
                           f'{protocol.min_pixels} pixels that count')
    return scored


def _verdict(one: str, other: str, abs_rel: float, difference: Difference) -> str:
    """Say in one line whether the other network is better than the one."""
    word = 'no certain difference'
    if difference.high < 0 or difference.low > 0:
        word = 'better' if difference.high < 0 else 'worse'
    return (f'{other} is {word}: AbsRel {abs_rel:.4f} of {one} changes by {difference.mean:+.4f}, '
            f'95 % interval {difference.low:+.4f} to {difference.high:+.4f}')


def _notes(
    scored: Sequence[ImageScore], found: int, dataset: Dataset, align: str, space: str
) -> list[str]:
    """Say everything that a reader must know before comparing the numbers with the paper's."""
    protocol = dataset.protocol
    notes = [
        f'{len(scored)} images, {align} alignment in {space.replace("_", " ")}, region '
        f'"{protocol.region}", depth {protocol.min_depth_m:g} to {protocol.max_depth_m:g} m'
    ]
    if dataset.images and len(scored) != dataset.images:
        notes.append(f'the protocol has {dataset.images} images: compare with care')
    if found > len(scored):
        notes.append(f'{found - len(scored)} images have too few such pixels and are left out')
    if negative := sum(score.scale < 0 for score in scored):
        other = 'depth' if space == 'inverse_depth' else 'inverse_depth'
        notes.append(
            f'the fitted scale is negative in {negative} images: is this {space}? (--prediction '
            f'{other})'
        )
    return notes


def _best_and_worst(
    scored: Sequence[ImageScore],
    samples: Sequence[Sample],
    predict: Predict,
    dataset: Dataset,
    space: str,
    count: int = 4,
) -> Any:
    """Draw the images with the lowest and the highest depth-space AbsRel; predicts them again."""
    by_name = {sample.name: sample for sample in samples}
    ranked = sorted(scored, key=lambda score: score.depth_space['abs_rel'])
    rows = []
    for score in ranked if len(ranked) <= 2 * count else ranked[:count] + ranked[-count:]:
        sample, protocol = by_name[score.name], dataset.protocol
        depth_m = sample.depth_m()
        prediction = predict(sample, depth_m.shape).astype(np.float64)
        truth = protocol.cropped(depth_m)
        rows.append(
            picture_row(
                f'AbsRel {score.depth_space["abs_rel"]:.3f}  {score.name}',
                _photo(sample, dataset),
                aligned_depth(prediction, space, score.scale, score.shift, protocol),
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
