# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Say what is in a bag, whether depth of its cameras would be in metres, and what is missing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import json
from pathlib import Path
import sys

from rich.console import Console

from depth_anything_ros.annotation.arguments import add_arguments, told
from depth_anything_ros.annotation.inspection import inspect, Wanted
from depth_anything_ros.annotation.inspection_report import as_html, as_json, print_inspection
from depth_anything_ros.config import Config, ModelConfig
from depth_anything_ros.errors import DatasetError, DepthAnythingError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        0 where every camera would be in metres, 1 where one would not or there is none, 2 after
        one line where there is no bag, or on another mistake of the user.
    """
    try:
        return _run(_parser().parse_args(argv))
    except DepthAnythingError as error:
        print(f'inspect: {error}', file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='inspect', description=__doc__)
    add = parser.add_argument
    add('bag', metavar='BAG', help='folder of a ROS 2 bag, or a .mcap or .db3 file; may be broken')
    add('--json', action='store_true', help='print one line of JSON in place of the tables')
    add('--html', type=Path, metavar='FILE', help='write the tables with pictures as one file')
    add_arguments(parser)
    return parser


def _run(args: argparse.Namespace) -> int:
    cameras, remapped, info, config = told(args)
    wanted = Wanted(cameras, remapped, info)
    inspection = inspect(args.bag, wanted, config, _is_metric(config))
    if args.html is not None:
        try:
            args.html.write_text(as_html(inspection), encoding='utf-8')
        except OSError as error:
            raise DatasetError(f'cannot write {args.html} ({error.strerror})') from error
    if args.json:
        print(json.dumps(as_json(inspection), allow_nan=False))
    else:
        print_inspection(Console(), inspection)
    return 0 if inspection.ready else 1


def _is_metric(config: Config) -> bool:
    """Tell whether the checkpoint predicts metres; its weights are not read."""
    if config.model.checkpoint == ModelConfig().checkpoint:
        return False
    # PyTorch takes seconds to import, and most bags are asked about with the bundled network.
    from depth_anything_ros.network.checkpoint import open_checkpoint
    from depth_anything_ros.network.hub import locate
    from depth_anything_ros.network.onnx_file import open_onnx

    path = locate(config.model.checkpoint)
    opened = open_onnx if path.suffix == '.onnx' else open_checkpoint
    return opened(path, config.model).spec.metric


if __name__ == '__main__':
    sys.exit(main())
