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

from depth_anything_ros.annotation.calibration import read_camera_info
from depth_anything_ros.annotation.inspection import inspect, Wanted
from depth_anything_ros.annotation.inspection_report import as_html, as_json, print_inspection
from depth_anything_ros.config import Config, ModelConfig
from depth_anything_ros.errors import ConfigError, DatasetError, DepthAnythingError
from depth_anything_ros.ros.parameter_files import load_config


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
    add('--camera', action='append', default=[], metavar='TOPIC',
        help='images of this topic alone; may be repeated; default all colour and gray ones')
    add('-r', '--remap', action='append', default=[], metavar='NAME:=TOPIC',
        help='input of the node (points, scan, right/image ...) and the topic that it is')
    add('--camera-info', metavar='FILE',
        help='calibration (YAML of camera_calibration) of cameras that have none in the bag')
    add('--params-file', metavar='FILE', help="the node's parameters, as for ros2 run")
    add('-p', '--param', action='append', default=[], metavar='NAME:=VALUE',
        help='one parameter of the node')
    return parser


def _run(args: argparse.Namespace) -> int:
    config, remapped = load_config(args.params_file, args.param), {}
    for rule in args.remap:
        name, is_rule, topic = rule.partition(':=')
        if not is_rule:
            raise ConfigError(f'-r {rule} is no remapping: write NAME:=TOPIC')
        remapped[name] = topic
    info = None if args.camera_info is None else read_camera_info(args.camera_info)
    wanted = Wanted(tuple(args.camera), remapped, info)
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
