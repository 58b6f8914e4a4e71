# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Say how far depth of many annotated bags can be believed, and show where it can least."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

from rich.console import Console

from depth_anything_ros.annotation.summary import find_reports
from depth_anything_ros.annotation.unit_report import read_report, report_path, UnitReport
from depth_anything_ros.errors import ConfigError, DatasetError, DepthAnythingError, reason
from depth_anything_ros.evaluation.quality import Quality, read_quality
from depth_anything_ros.evaluation.quality_page import quality_page, quality_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        0; 1 where a bag could not be annotated or read; 2 after one line on a user's mistake.
    """
    try:
        return _run(_parser().parse_args(argv))
    except DepthAnythingError as error:
        print(f'fleet_report: {error}', file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='fleet_report', description=__doc__)
    add = parser.add_argument
    add('outputs', nargs='+', type=Path, metavar='OUT', help='what annotate wrote: folders of bags')
    add('--html', type=Path, metavar='FILE',
        help='write plots over time and the least sure frames as one file')
    add('--pictures', type=int, default=3, metavar='N', help='of each camera in --html; default 3')
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.pictures < 0:
        raise ConfigError(f'--pictures {args.pictures} is less than none')
    reports = [report for out in args.outputs for report in _reports(out)]
    fleet: list[Quality] = []
    failed: list[str] = []
    for report in reports:
        if not report.finished:
            failed.append(report.error or f'{report.unit.path} is unfinished: annotate goes on')
            continue
        for topic, camera in report.cameras.items():
            if not camera.frames:
                failed.append(f'{report.output}: {topic} has no frame that could be answered')
                continue
            try:
                fleet.append(read_quality(Path(report.output), topic))
            except DatasetError as error:
                failed.append(str(error))
    console = Console()
    console.print(quality_table(fleet))
    for line in failed:
        console.print(line, style='red', markup=False, highlight=False, soft_wrap=True)
    if args.html is not None:
        page = quality_page(fleet, failed, args.pictures)
        try:
            args.html.write_text(page, encoding='utf-8')
        except OSError as error:
            raise DatasetError(f'{args.html} cannot be written ({reason(error)})') from error
    return 1 if failed else 0


def _reports(out: Path) -> list[UnitReport]:
    """Return the reports in a folder, or the one beside it where it is a bag itself."""
    beside = report_path(out)
    found = [read_report(beside)] if beside.is_file() else list(find_reports(out))
    if not found:
        raise DatasetError(f'{out} holds no report of annotate: name the OUT that it was given')
    return found


if __name__ == '__main__':
    sys.exit(main())
