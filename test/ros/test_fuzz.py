# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A short run of `make fuzz` on each transport; docs/reliability.md tells of the long ones."""

import json
from pathlib import Path
import subprocess
import sys

import pytest

FUZZ = Path(__file__).resolve().parents[1] / 'reliability' / 'fuzz.py'


@pytest.mark.timeout(300)
@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_after_every_batch_of_broken_messages_a_good_frame_comes_out(tmp_path, transport):
    done = subprocess.run(
        [sys.executable, str(FUZZ), '--count', '500', '--seed', '1', '--transport', transport,
         '--failures', '1', '--dump', str(tmp_path)],
        stdout=subprocess.PIPE, text=True,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout
    assert (report['messages'], report['good_frames']) == (500, 20)
    assert report['deaths'] == report['hangs'] == report['wrong'] == 0
    assert all(report['by_kind'].values()) and len(report['by_kind']) == 4
