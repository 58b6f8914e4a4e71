# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The robustness benchmark runs anywhere, and disturbs what it says it disturbs."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.anchors import SensorPoints

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def disturbances(monkeypatch):
    """Return the module, which lies beside the benchmark."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import disturbances

    return disturbances


@pytest.mark.timeout(300)  # seconds of work, beside other work
def test_quick_run_ends_with_one_json_object() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / 'robustness.py'), '--quick', '--json'],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])['rows']
    by_case = {(row['data'], row['case']): row for row in rows}
    clean = by_case['world', 'clean']
    assert (clean['frames'], clean['fitted'], clean['silent']) == (1, 1.0, 0)
    assert clean['error'] < 0.05 and 0.5 < clean['covered'] <= 1
    assert by_case['world', 'identity']['frames'] == 1
    drive = by_case['drives', 'dropout 2 s']
    assert (drive['period_s'], drive['ends_refused']) == (1.0, 0)
    assert drive['fitted'] + drive['held'] <= 1
    moved = by_case['drives', 'yaw 30 for good']
    assert 0 <= moved['refused_s'] <= 9.0


def test_dust_is_nearer_than_what_it_hides_and_keeps_its_direction(disturbances):
    xyz_m = np.tile(np.float32([[3.0, 4.0, 0.0], [0.6, 0.8, 0.0]]), (500, 1))  # at 5 m and 1 m
    dusty = disturbances.with_veil(SensorPoints(xyz_m, 0, 'lidar'), 0.4, 7, tight=True).xyz_m
    range_m = np.linalg.norm(dusty, axis=1)
    hit = range_m[::2] < 4.9
    assert 0.33 < hit.mean() < 0.47
    assert (range_m[::2][hit] >= 2.0 - 1e-5).all() and (range_m[::2][hit] <= 2.4 + 1e-5).all()
    np.testing.assert_allclose(range_m[1::2], 1.0, rtol=1e-6)  # what is before it stays
    np.testing.assert_allclose(dusty / range_m[:, None], [[0.6, 0.8, 0.0]] * 1000, atol=1e-6)


def test_pitch_moves_points_up_or_down_the_image(disturbances):
    wrong = disturbances.turned(np.eye(4), 'pitch', 10.0)
    x, y, z = (wrong @ [0.0, 0.0, 1.0, 1.0])[:3]
    assert (x, z) == pytest.approx((0.0, np.cos(np.radians(10.0))))
    assert abs(y) == pytest.approx(np.sin(np.radians(10.0)))


def test_one_depth_keeps_the_crowded_tenth(disturbances):
    camera = Camera.from_calibration(100, 80, [[50.0, 0, 50], [0, 50.0, 40], [0, 0, 1]])
    z_m = np.float32([*np.linspace(3.0, 3.2, 30), *np.linspace(4.0, 9.0, 40), -3.1])
    points = SensorPoints(np.stack([0 * z_m, 0 * z_m, z_m], axis=1), 0, 'lidar')
    kept = disturbances.at_one_depth(points, np.eye(4), camera)
    np.testing.assert_array_equal(kept.xyz_m[:, 2], z_m[:30])
