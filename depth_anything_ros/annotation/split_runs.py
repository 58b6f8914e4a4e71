# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags -> reports by an engine, long bags in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depth_anything_ros.annotation.engines import Engine, failed, Job, Tell
from depth_anything_ros.annotation.parts import join, split
from depth_anything_ros.annotation.unit_report import read_report, report_path, UnitReport, Work
from depth_anything_ros.errors import DatasetError


@dataclass
class _Cut:
    """A bag and what has become of its parts."""

    whole: Work
    parts: list[Work]
    reports: dict[Path, UnitReport] = field(default_factory=dict)  # by output
    done: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def result(self) -> UnitReport | None:
        """Return the report on the bag once all parts are done, or that on one that cannot be."""
        last = list(self.reports.values())[-1:]
        if last and not last[0].finished:
            return UnitReport(
                self.whole.unit, str(self.whole.out), notes=last[0].notes, error=last[0].error
            )
        if len(self.reports) < len(self.parts):
            return None
        try:
            reports = [self.reports[part.out] for part in self.parts]
            return join(*self.whole, reports)
        except DatasetError as error:
            return failed(self.whole, error)


def run_in_parts(
    engine: Engine,
    bags: Sequence[Work],
    job: Job,
    seconds: float,
    tell: Tell,
    stopped: Callable[[], bool],
) -> Iterator[UnitReport]:
    """Yield what Engine.run() does of whole bags, working on parts of them.

    Parts that an earlier run has finished are not done again.

    Args:
        engine: does the parts.
        bags: whole ones.
        job: what is done to each.
        seconds: about how long a part is.
        tell: told how far a bag is.
        stopped: as for Engine.run().
    """
    cuts, todo = [], []
    for bag in bags:
        try:
            if bag.out.exists():
                raise DatasetError(f'{bag.out} exists: name another, or remove it')
            cut = _Cut(bag, split(*bag, seconds))
        except DatasetError as error:
            yield failed(bag, error)
            continue
        for part in cut.parts:
            if part.out.exists():
                cut.reports[part.out] = read_report(report_path(part.out))
            else:
                todo.append(part)
        cuts.append(cut)
        if len(cut.reports) == len(cut.parts) and (report := cut.result()):
            yield report
    of_part = {part.out: cut for cut in cuts for part in cut.parts}

    def tell_of_part(part: Work, done: int, of: int) -> None:
        cut = of_part[part.out]
        cut.done[part.out] = done, of
        share = len(cut.parts) / len(cut.done)  # parts that have not begun are as long
        images, expected = (sum(numbers) for numbers in zip(*cut.done.values()))
        tell(cut.whole, images, round(share * expected))

    for report in engine.run(todo, job, tell_of_part, stopped):
        cut = of_part[Path(report.output)]
        if cut.parts == [cut.whole]:
            yield report
            continue
        cut.reports[Path(report.output)] = report
        whole = cut.result()
        if whole is not None:
            yield whole
