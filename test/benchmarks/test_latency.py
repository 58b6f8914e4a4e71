# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The latency benchmark runs anywhere and ends with the numbers it promises."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

import pytest


@pytest.mark.timeout(400)  # a ViT-S is exported and run by all backends, beside other work
def test_quick_run_ends_with_one_json_object() -> None:
    script = Path(__file__).parents[2] / 'benchmarks' / 'latency.py'
    done = subprocess.run(
        [sys.executable, str(script), '--quick', '--json', '--device', 'cpu'],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    (case,) = report['cases']
    assert (case['model'], case['network_input'], case['rounds']) == ('ViT-S', '126x168', 2)
    ours, users = (case['stages_ms'][row] for row in ('this pipeline', 'transformers'))
    named = set(ours) - {'total', 'processor time', 'outside the network', 'refinement'}
    assert {'preprocess', 'network', 'fit', 'metric', 'pack'} <= named
    # With two rounds p50 is the mean, so the stages add up to no more than the total.
    assert sum(ours[stage]['p50'] for stage in named) <= ours['total']['p50'] * 1.001
    assert all(stage['p99'] >= stage['p50'] for stage in (*ours.values(), *users.values()))
    assert report['non_network_ms_p50'] == ours['outside the network']['p50']
    assert report['ratio_vs_transformers'] > 0
    assert case['ratios_vs_transformers']['this pipeline'] == report['ratio_vs_transformers']
    assert set(case['processor_ratios_vs_transformers']) == set(case['stages_ms'])
    assert 0 < case['abs_rel_from_float32']['int8'] < 0.1  # random weights
    assert {'this pipeline, input 84', 'this pipeline, input 70'} <= set(case['stages_ms'])
    assert set(report['load_s']['ViT-S']) == {'cold', 'warm'}


def test_a_checkout_against_itself_is_compared_stage_by_stage() -> None:
    checkout = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(checkout / 'benchmarks' / 'latency.py'),
         '--against', str(checkout), '--rounds', '3', '--json'],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout.splitlines()[-1])['against']
    assert {'preprocess', 'upsample', 'anchors', 'fit', 'metric', 'pack', 'total'} <= set(stages)
    assert 'network' not in stages
    assert all(row['ours_ms_p50'] >= row['ours_ms_least'] > 0 for row in stages.values())
    assert all(row['ratio'] > 0 for row in stages.values())


def test_every_source_has_a_row_and_all_together_take_more_than_any() -> None:
    checkout = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(checkout / 'benchmarks' / 'latency.py'),
         '--sources', '--rounds', '2', '--json'],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])['sources']
    assert set(rows) == {'lidar', 'depth', 'stereo', 'motion', 'range', 'all together'}
    assert all(row['ms_p50'] >= row['ms_least'] > 0 for row in rows.values())
    assert rows['all together']['ms_least'] > max(
        row['ms_least'] for name, row in rows.items() if name != 'all together'
    )
