# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`label`: a teacher's labels of any number of pictures, in shards to train on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import sys

from depth_anything_ros import engine_arguments
from depth_anything_ros.addresses import path_or_address, PathOrAddress
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.labelling.ray_engine import RayEngine
from depth_anything_ros.labelling.run import Engine, label, LocalEngine, NAMED, Settings, Totals
from depth_anything_ros.labelling.shard import CORRUPT
from depth_anything_ros.labelling.teacher import Limits, LoadPredictor
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.training import shard_folder


def main(argv: Sequence[str] | None = None, load: LoadPredictor = load_predictor) -> int:
    """Run the program.

    Returns:
        0; 2 after one line on a user's mistake, 130 where it was interrupted.
    """
    args = _parser().parse_args(argv)
    try:
        totals = _run(args, load)
    except DepthAnythingError as error:
        print(f'label: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('label: stopped; the same call goes on from here', file=sys.stderr)
        return 130
    print(*_lines(totals, args.out), sep='\n', file=sys.stderr)
    return 0


def _run(args: argparse.Namespace, load: LoadPredictor) -> Totals:
    limits = Limits(args.most_sky, args.most_disagreement, args.least_spread)
    model = {'model.checkpoint': args.teacher, 'model.input_size': args.input_size}
    settings = Settings(with_values(Config(), model).model, args.per_shard, args.jpeg, limits)
    on_ray = engine_arguments.ray_of(args)
    engine: Engine = LocalEngine() if on_ray is None else RayEngine(*on_ray)
    try:
        return label(args.inputs, args.out, settings, engine, load, args.device, args.batch)
    finally:
        engine.close()


def _lines(totals: Totals, out: PathOrAddress) -> list[str]:
    lines = [f'{totals.labelled} of {totals.pictures} pictures are labelled in {out}']
    lines += [f'{count} were left out: {why.replace("_", " ")}'
              for why, count in sorted(totals.left_out.items())]
    if totals.named:
        lines += ['the corrupt ones:', *totals.named]
        if (more := totals.left_out[CORRUPT] - NAMED) > 0:
            lines.append(f'and {more} more, which {out}/*.json name')
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='label', description='Label pictures by a teacher; go on where it ended.')
    add = parser.add_argument
    add('inputs', nargs='+', type=path_or_address, metavar='IN',
        help='folders of pictures or shards, ROS 2 bags, or lists with one path a line')
    add('out', type=path_or_address, metavar='OUT', help='folder of the shards, or its address')
    add('--teacher', required=True, metavar='CHECKPOINT', help='as model.checkpoint')
    add('--input-size', type=int, default=0, metavar='PIXELS', help='as model.input_size')
    add('--device', default='auto', help='as runtime.device')
    add('--batch', type=int, default=0, metavar='N',
        help='views that go through the network at once, two a picture; default 16 on a GPU')
    shard_folder.add_arguments(parser)
    add('--most-sky', type=float, default=Limits.most_sky, metavar='SHARE',
        help='of a picture that may be sky; default %(default)s')
    add('--most-disagreement', type=float, default=Limits.most_disagreement, metavar='D',
        help='of a picture and its mirror image, in mean deviations; default %(default)s')
    add('--least-spread', type=float, default=Limits.least_spread, metavar='SHARE',
        help='of nearest to farthest inverse depth, in the nearest; default %(default)s')
    engine_arguments.add_arguments(parser)
    return parser


if __name__ == '__main__':
    sys.exit(main())
