# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Give every image of recorded bags its depth, as the node would, without dropping one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
import signal
import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from depth_anything_ros.annotation.calibration import read_camera_info
from depth_anything_ros.annotation.unit import annotate_unit, LoadPredictor, Request
from depth_anything_ros.annotation.units import find_units
from depth_anything_ros.errors import ConfigError, DatasetError, DepthAnythingError
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.ros.output_messages import TOPICS
from depth_anything_ros.ros.parameter_files import load_config

_DEFAULT = 'image,stddev'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        0; 1 where a bag could not be done or it was stopped; 2 after one line on a user's mistake.
    """
    try:
        return _run(_parser().parse_args(argv), load_predictor)
    except DepthAnythingError as error:
        print(f'annotate: {error}', file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='annotate', description=__doc__)
    add = parser.add_argument
    add('inputs', nargs='+', metavar='IN', help='a bag, a folder of bags, or a pattern of either')
    add('out', type=Path, metavar='OUT',
        help='new bag (mcap); of several bags the folder for them, where those done are left')
    add('--only-new', action='store_true', help='leave the original topics out')
    add('--outputs', default=_DEFAULT, metavar='A,B',
        help=f'topics under depth/ of each camera, of {", ".join(_outputs())}; default {_DEFAULT}; '
        'camera_info and scale go along')
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


def _outputs() -> list[str]:
    """Return what may be asked for, without depth/."""
    always = ('depth/camera_info', 'depth/scale')
    return [topic.removeprefix('depth/') for topic in TOPICS if topic not in always]


def _request(args: argparse.Namespace) -> Request:
    wanted = [name.strip() for name in args.outputs.split(',')]
    for name in wanted:
        if name not in _outputs():
            raise ConfigError(f'--outputs {name} is none of {", ".join(_outputs())}')
    remapped = []
    for rule in args.remap:
        name, is_rule, topic = rule.partition(':=')
        if not is_rule:
            raise ConfigError(f'-r {rule} is no remapping: write NAME:=TOPIC')
        remapped.append((name, topic))
    topics = frozenset({'depth/camera_info', *(f'depth/{name}' for name in wanted)})
    info = None if args.camera_info is None else read_camera_info(args.camera_info)
    return Request(topics, not args.only_new, tuple(args.camera), tuple(remapped), info)


def _run(args: argparse.Namespace, load: LoadPredictor) -> int:
    config, request = load_config(args.params_file, args.param), _request(args)
    units = find_units(args.inputs, args.out)
    several, console, stop = len(units) > 1, Console(stderr=True), _Interrupt()
    load, code = lru_cache(maxsize=1)(load), 0
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        for unit, out in units:
            if several and out.exists():
                console.print(f'{out} is done already', highlight=False, soft_wrap=True)
                continue
            task = progress.add_task(Path(unit.path).name)

            def tell(done: int, of: int, task: TaskID = task) -> None:
                progress.update(task, completed=done, total=of)

            try:
                report = annotate_unit(unit, request, config, load, out, tell, stop.asked)
            except DatasetError as error:
                if not several:
                    raise
                console.print(f'annotate: {error}', highlight=False, markup=False, soft_wrap=True)
                code = 1
                continue
            for line in report.lines():
                console.print(line, highlight=False, markup=False, soft_wrap=True)
            if stop.asked():
                return 1
    return code


class _Interrupt:
    """Whether SIGINT or SIGTERM has come; a second one ends the program where it is."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def asked(self) -> bool:
        return self._asked

    def _take(self, number: int, _: object) -> None:
        self._asked = True
        signal.signal(number, signal.SIG_DFL)


if __name__ == '__main__':
    sys.exit(main())
