# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Give every image of recorded bags its depth, as the node would, without dropping one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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

from depth_anything_ros import engine_arguments
from depth_anything_ros.addresses import is_remote
from depth_anything_ros.annotation.arguments import add_arguments, Told, told
from depth_anything_ros.annotation.engines import Engine, Job, LocalEngine
from depth_anything_ros.annotation.ray_engine import RayEngine
from depth_anything_ros.annotation.request import Request
from depth_anything_ros.annotation.split_runs import run_in_parts
from depth_anything_ros.annotation.summary import (
    find_reports,
    rows,
    summary_table,
    write_summary,
)
from depth_anything_ros.annotation.unit import LoadPredictor
from depth_anything_ros.annotation.unit_report import Work
from depth_anything_ros.annotation.units import find_units
from depth_anything_ros.errors import ConfigError, DatasetError, DepthAnythingError
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.ros.output_messages import COMPRESSED_DEPTH, TOPICS

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
    add('inputs', nargs='+', metavar='IN',
        help='a bag, a folder of bags, or a pattern of either, here or at s3://, gs:// ...')
    add('out', metavar='OUT',
        help='new bag (mcap); of several bags the folder for them, where those done are left')
    add('--format', default='mcap', choices=['mcap', 'kitti'],
        help='a bag (default), or a folder of 16 bit pictures with times, states and poses')
    add('--only-new', action='store_true', help='leave the original topics out')
    add('--outputs', default=_DEFAULT, metavar='A,B',
        help=f'topics under depth/ of each camera, of {", ".join(_outputs())}; default {_DEFAULT}; '
        'camera_info and scale go along')
    add('--smooth', action='store_true',
        help='a second pass: images where the lidar was away use what came before and after')
    add_arguments(parser)
    add('--split', type=seconds, metavar='SECONDS',
        help='work on long bags in parts of about so long, and join what comes of them')
    add('--device', metavar='A,B',
        help='as runtime.device; of several (cuda:0,cuda:1) each has a bag, or part, at a time')
    engine_arguments.add_arguments(parser)
    return parser


def seconds(text: str) -> float:
    """Return the length of a part; argparse names this function where it is none."""
    if not 1 <= (length_s := float(text)) < float('inf'):
        raise ValueError(text)
    return length_s


def _outputs() -> list[str]:
    """Return what may be asked for, without depth/."""
    always = ('depth/camera_info', 'depth/scale')
    topics = [topic for topic in (*TOPICS, COMPRESSED_DEPTH) if topic not in always]
    return [topic.removeprefix('depth/') for topic in topics]


def _request(args: argparse.Namespace, said: Told) -> Request:
    wanted = [name.strip() for name in args.outputs.split(',')]
    for name in wanted:
        if name not in _outputs():
            raise ConfigError(f'--outputs {name} is none of {", ".join(_outputs())}')
    topics = frozenset({'depth/camera_info', *(f'depth/{name}' for name in wanted)})
    return Request(
        topics, not args.only_new, said.cameras, tuple(said.remapped.items()), said.camera_info,
        args.format, args.smooth,
    )


def _run(args: argparse.Namespace, load: LoadPredictor) -> int:
    if is_remote(args.out):
        raise ConfigError(
            f'OUT {args.out} is not on this machine: write to a folder, and copy that there'
        )
    args.out, said = Path(args.out), told(args)
    job = Job(_request(args, said), said.config, load)
    found = [Work(unit, out) for unit, out in find_units(args.inputs, args.out)]
    if args.split is not None and args.format != 'mcap':
        raise ConfigError(f'--split joins bags: leave it out with --format {args.format}')
    if args.split is not None and any(is_remote(bag.unit.path) for bag in found):
        raise ConfigError('--split would copy a bag from its store for each part: copy it first')
    if args.split is not None and args.smooth:
        raise ConfigError('--smooth goes over gaps, and --split would cut them: leave one out')
    devices = [name.strip() for name in (args.device or '').split(',') if name.strip()]
    if args.engine == 'ray' and devices:
        raise ConfigError('--device is for --engine local; for Ray: -p runtime.device:=cuda')
    on_ray = engine_arguments.ray_of(args)
    engine: Engine = LocalEngine(devices) if on_ray is None else RayEngine(*on_ray)
    try:
        return _annotate(found, args, job, engine)
    finally:
        engine.close()


def _annotate(found: list[Work], args: argparse.Namespace, job: Job, engine: Engine) -> int:
    several, code = len(found) > 1, 0
    with _Screen(found) as screen:
        stop = _Interrupt()
        todo = []
        for bag in found:
            if several and bag.out.exists():
                screen.say(f'{bag.out} is done already')
                screen.end(bag.out)
            else:
                todo.append(bag)
        if args.split is None:
            reports = engine.run(todo, job, screen.tell, stop.asked)
        else:
            reports = run_in_parts(engine, todo, job, args.split, screen.tell, stop.asked)
        for report in reports:
            if report.error and not several:
                raise DatasetError(report.error)
            screen.end(Path(report.output))
            for line in report.lines():
                screen.say(line)
            code = code if report.finished else 1
        lines = rows(list(find_reports(args.out))) if several else []
        if lines:
            screen.console.print(summary_table(lines))
            screen.say(f'written: {write_summary(lines, args.out)}')
        return 1 if stop.asked() else code


class _Screen:
    """Shows how far bags are, and what is said of them."""

    def __init__(self, bags: list[Work]) -> None:
        self.console, self._count = Console(stderr=True), len(bags)
        self._progress = Progress(
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=self.console,
        )
        self._tasks: dict[Path, TaskID] = {}
        self._all = self._progress.add_task('bags', total=len(bags), visible=len(bags) > 1)

    def __enter__(self) -> _Screen:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, bag: Work, done: int, of: int) -> None:
        """Show how far a bag is."""
        if bag.out not in self._tasks:
            self._tasks[bag.out] = self._progress.add_task(Path(bag.unit.path).name)
        self._progress.update(self._tasks[bag.out], completed=done, total=of)

    def end(self, out: Path) -> None:
        """Count a bag that has ended; of one alone the bar stays."""
        self._progress.advance(self._all)
        if self._count > 1 and out in self._tasks:
            self._progress.remove_task(self._tasks.pop(out))

    def say(self, line: str) -> None:
        """Print a line as it is."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


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
