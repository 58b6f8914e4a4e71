# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What annotate and inspect make of a broken bag, as a user runs them: by their own main()."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
import json
from pathlib import Path
import shutil
import sys
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from depth_anything_ros.annotation.unfinished import unfinished  # noqa: E402
from depth_anything_ros.annotation.unit_report import REPORT  # noqa: E402
from depth_anything_ros.ros.bags import open_bag  # noqa: E402
from depth_anything_ros.tools import annotate, inspect_bag  # noqa: E402
from helpers import NearnessPredictor  # noqa: E402

LONGEST_LINE = 2500
SOUND = ('done', 'refused')


class Wrong(Exception):
    """A program did not keep what is said of it, in these words."""


def inspected(bag: Path) -> str:
    """Run inspect on a bag; return done or refused.

    Raises:
        Wrong: it did neither.
    """
    code, out, err = _called(inspect_bag.main, [str(bag), '--json'])
    if code == 2:
        return _refused('inspect', err)
    if code not in (0, 1) or err:
        raise Wrong(f'inspect: code {code} and {err[:300]!r}')
    json.loads(out)
    return 'done'


def annotated(bag: Path, folder: Path, options: Sequence[str] = ()) -> str:
    """Run annotate on a bag, into a folder that is made and removed; return done or refused.

    Raises:
        Wrong: what is there afterwards is neither a whole bag nor marked as unfinished, something
            else is left, the bag itself has changed, or it was not told in one line.
    """
    folder.mkdir()
    out, before = folder / 'out', _content(bag)
    with mock.patch.object(annotate, 'load_predictor', lambda *_: NearnessPredictor()):
        code, _, err = _called(annotate.main, [str(bag), str(out), *options])
    left = {path.name for path in folder.iterdir()}
    if _content(bag) != before:
        raise Wrong('annotate changed the bag that it read')
    if any(path.name.endswith('.part') for path in folder.rglob('*')):
        raise Wrong('annotate left a .part')
    reports = list(folder.rglob(f'*{REPORT}'))
    for report in reports:
        if (whole := report.with_name(report.name.removesuffix(REPORT))).exists():
            _check_whole(whole, report)
    # A folder of files without metadata.yaml is one of several bags, of which some may fail.
    several = bag.is_dir() and not (bag / 'metadata.yaml').exists()
    allowed = {out.name} if several else {out.name, f'{out.name}{REPORT}'}
    if code == 2 and not several:
        allowed = {unfinished(out).name, f'{out.name}{REPORT}'}
    if code not in ((0, 1, 2) if several else (0, 2)):
        raise Wrong(f'annotate: code {code} and {err[:300]!r}')
    if not left <= allowed or (code == 0 and left != allowed):
        raise Wrong(f'annotate: code {code} and {sorted(left)} left')
    shutil.rmtree(folder)
    return 'done' if code < 2 else _refused('annotate', err)


def _check_whole(out: Path, report: Path) -> None:
    """Read a bag as strictly as it can be, and compare it with its report."""
    told = json.loads(report.read_text())
    with open_bag(out) as bag:
        topics = [c.topic for c, _, _ in bag.messages(bag.connections)]
    for topic, camera in told['cameras'].items():
        answers = topics.count(f'{topic.rpartition("/")[0]}/depth/scale')
        if answers != camera['frames']:
            raise Wrong(f'annotate wrote {answers} answers and counts {camera["frames"]}')


def _called(main: Callable[[Sequence[str]], int], arguments: list[str]) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


def _refused(program: str, err: str) -> str:
    """Check that there is one line beside a bar of progress."""
    lines = [line for line in err.splitlines() if line.strip() and '━' not in line]
    if len(lines) != 1 or not lines[0].startswith(f'{program}: ') or len(err) > LONGEST_LINE:
        raise Wrong(f'{program} is not told in one line: {err[:500]!r}')
    return 'refused'


def _content(bag: Path) -> dict[str, Any]:
    files = sorted(bag.rglob('*')) if bag.is_dir() else [bag]
    return {path.name: path.read_bytes() for path in files if path.is_file()}
