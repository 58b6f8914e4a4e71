# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reports on many bags -> one table of them: a line for each camera of each bag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.table import Table

from depth_anything_ros.annotation.unfinished import cannot_write, SUFFIX
from depth_anything_ros.annotation.unit_report import read_report, REPORT, UnitReport
from depth_anything_ros.metric_depth.scale import State

Row = dict[str, Any]


def find_reports(out: Path) -> Iterator[UnitReport]:
    """Yield the reports that annotate left in a folder, at any depth, by name.

    Raises:
        DatasetError: one cannot be read.
    """
    for path in sorted(out.rglob(f'*{REPORT}')):
        if not any(part.endswith(SUFFIX) for part in path.relative_to(out).parts):
            yield read_report(path)


def rows(reports: Sequence[UnitReport]) -> list[Row]:
    """Return a line for each camera of each bag, and one for each bag without.

    Returns:
        bag, output, camera, finished, error, frames, one column for each state of the scale,
        sigma_median (of log depth, about relative), failed, and failed_* and incomplete_* by
        reason; all lines have the same columns.
    """
    found: list[Row] = []
    for report in reports:
        head = {'bag': report.unit.path, 'output': report.output}
        tail = {'finished': report.finished, 'error': report.error}
        if not report.cameras:
            found.append({**head, 'camera': '', **tail, 'frames': 0, 'sigma_median': None})
        for topic, camera in report.cameras.items():
            found.append({
                **head,
                'camera': topic,
                **tail,
                'frames': camera.frames,
                'sigma_median': camera.sigma_median,
                'failed': camera.failed.total(),
                **{state.value: camera.states[state.value] for state in State},
                **{f'failed_{name}': count for name, count in camera.failed.items()},
                **{f'incomplete_{name}': count for name, count in camera.incomplete.items()},
            })
    first = ['bag', 'output', 'camera', 'finished', 'error', 'frames']
    first += [state.value for state in State] + ['sigma_median', 'failed']
    others = sorted({name for row in found for name in row} - set(first))
    return [{name: row.get(name, 0) for name in (*first, *others)} for row in found]


def write_summary(found: Sequence[Row], folder: Path) -> Path:
    """Write rows() as summary.parquet, or as summary.csv where there is no pyarrow.

    Raises:
        DatasetError: it cannot be written.
    """
    has_arrow = find_spec('pyarrow') is not None
    path = folder / ('summary.parquet' if has_arrow else 'summary.csv')
    try:
        if has_arrow:
            import pyarrow
            from pyarrow import parquet

            parquet.write_table(pyarrow.Table.from_pylist(list(found)), path)
        else:
            with path.open('w', newline='') as file:
                writer = csv.DictWriter(file, list(found[0]) if found else [])
                writer.writeheader()
                writer.writerows(found)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def summary_table(found: Sequence[Row]) -> Table:
    """Return what a terminal shows of rows()."""
    table = Table()
    table.add_column('bag', overflow='fold')
    table.add_column('camera', overflow='fold')
    states = [state.value for state in State if any(row[state.value] for row in found)]
    for name in ('frames', *states, 'sigma', 'failed'):
        table.add_column(name, justify='right')
    for row in found:
        frames = max(row['frames'], 1)
        sigma = row['sigma_median']
        table.add_row(
            _plain(Path(row['output']).name),
            _plain(row['camera'] or row['error']),
            str(row['frames']),
            *(f'{row[state] / frames:.0%}' for state in states),
            '' if sigma is None else f'{sigma:.1%}',
            str(row['failed'] or ''),
        )
    return table


def _plain(text: str) -> str:
    return text.replace('[', r'\[')
