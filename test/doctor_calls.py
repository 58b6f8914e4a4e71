# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Calls of the doctor as a process, alone or several that share the time of its imports."""

import json
import os
from pathlib import Path
import subprocess
import sys

from helpers import TEST

DOCTORS = TEST / 'programs' / 'doctors.py'
PATIENCE_S = 300
AT_ONCE = 4
SECONDS = ('--seconds', '6')  # for what never comes, on a busy machine


def call(*arguments, environment=None):
    """Run the doctor itself; return exit code, findings by line, and what it said on stderr."""
    done = subprocess.run(
        [sys.executable, '-m', 'depth_anything_ros.tools.doctor', '--json', *SECONDS, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, **(environment or {})},
    )
    return done.returncode, by_line(done.stdout), done.stderr


def call_many(folder, calls, environment=None):
    """Run several at once.

    Args:
        folder: for their output.
        calls: name -> arguments.
        environment: changed variables of all.

    Returns:
        Name -> exit code and findings by line.
    """
    files = {str(Path(folder) / name): name for name in calls}
    lines = [
        json.dumps([file, environment or {}, '--json', *SECONDS, *calls[name]])
        for file, name in files.items()
    ]
    done = subprocess.run(
        [sys.executable, str(DOCTORS), str(AT_ONCE)],
        input='\n'.join(lines) + '\n',
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    codes = dict(json.loads(line) for line in done.stdout.splitlines())
    for file, code in codes.items():
        assert code in (0, 1), Path(f'{file}.log').read_text()
    return {files[file]: (code, by_line(Path(file).read_text())) for file, code in codes.items()}


def by_line(printed):
    """Return findings by their line, of what --json prints; empty for nothing."""
    return {each['line']: each for each in json.loads(printed)['findings']} if printed else {}


def failures(found):
    """Return the lines that failed."""
    return {line: each for line, each in found.items() if each['state'] == 'failed'}
