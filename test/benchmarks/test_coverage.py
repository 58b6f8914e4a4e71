# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The coverage benchmark runs anywhere and counts pixels where it says they are."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

import pytest

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.mark.timeout(300)  # seconds of work, beside other work
def test_a_run_on_one_frame_ends_with_one_json_object(tmp_path) -> None:
    done = subprocess.run(
        [
            sys.executable, str(BENCHMARKS / 'coverage.py'), '--world-frames', '1', '--json',
            '--data', str(tmp_path),
        ],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])['rows']
    covered = {(row['rings'], row['kind']): row['covered'] for row in rows}
    for rings in (1, 4, 16, 'all'):
        for kind in ('overall', 'below', '16-64 px'):
            assert 0.5 <= covered[rings, kind] <= 1.0
