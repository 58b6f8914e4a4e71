# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark over DDS runs, and its numbers are those of the messages."""

import json
from pathlib import Path
import subprocess
import sys

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'
sys.path.insert(0, str(BENCHMARKS))

from node_latency import latencies  # noqa: E402, I100


def test_latencies_by_hand():
    ms = 1_000_000
    found = latencies([(0, 10 * ms), (100 * ms, 130 * ms), (200 * ms, 220 * ms)])
    assert found == {'count': 3, 'p50': 20.0, 'p99': pytest.approx(29.8), 'max': 30.0}
    assert latencies([]) == {'count': 0}


def test_quick_run_ends_with_one_json_object():
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / 'node_latency.py'), '--quick', '--json'],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    (size,) = json.loads(done.stdout.splitlines()[-1])['sizes']
    (rate,) = size['rates']
    assert (size['size'], rate['rate_hz']) == ('160x120', 5.0)
    for who in ('node', 'bare'):
        for topic in ('depth/image', 'depth/points'):
            found = rate[who][topic]
            assert found['count'] > 0 and 0 < found['p50'] <= found['p99'] <= found['max']
