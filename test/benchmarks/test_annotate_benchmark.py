# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of annotate runs, its stages add up, and its long bag is the short one again."""

import json
from pathlib import Path
import subprocess
import sys

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from depth_anything_ros.ros.bags import open_bag, read_recorded

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'
sys.path.insert(0, str(BENCHMARKS))

import annotate as benchmark  # noqa: E402, I100

SECOND = 1_000_000_000


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_stage_has_its_own_time_without_the_stages_inside_it(monkeypatch):
    cpu, wall = Clock(), Clock()
    monkeypatch.setattr(benchmark.time, 'thread_time', cpu)
    monkeypatch.setattr(benchmark.time, 'perf_counter', wall)
    laps = benchmark.Laps()

    def work(cpu_s, wall_s):
        cpu.now += cpu_s
        wall.now += wall_s

    network = laps.timed('network', lambda: work(4, 10))

    def around():
        work(1, 1)
        network()
        work(2, 3)

    def steps():
        work(5, 6)
        yield 'a'
        work(7, 8)

    laps.timed('around network', around)()
    for _ in laps.timed_steps('reading', steps)():
        work(100, 100)  # which is not reading
    found = {stage: (laps.cpu_s[stage], laps.wall_s[stage]) for stage in laps.cpu_s}
    assert {stage: pair for stage, pair in found.items() if any(pair)} == {
        'around network': (3, 4), 'network': (4, 10), 'reading': (12, 14),
    }


def test_the_long_bag_is_the_short_one_again_with_later_stamps(tmp_path):
    bag = benchmark.drive_bag(tmp_path / 'bag', 2)
    assert benchmark.drive_bag(bag, 3) == bag  # what is there is kept
    found = []
    with open_bag(benchmark.repeated_bag(bag, tmp_path / 'long', 3)) as reader:
        images = [c for c in reader.connections if c.topic == '/image']
        for _, time_ns, data in read_recorded(reader, images):
            message = deserialize_message(data, Image)
            stamp = message.header.stamp
            assert time_ns == stamp.sec * SECOND + stamp.nanosec
            found.append((time_ns, bytes(message.data)))
    start_ns = 1_700_000_000 * SECOND
    assert [time_ns for time_ns, _ in found] == [start_ns + i * SECOND // 10 for i in range(6)]
    pictures = [picture for _, picture in found]
    assert pictures == 3 * pictures[:2] and pictures[0] != pictures[1]


def test_quick_run_ends_with_one_json_object():
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / 'annotate.py'), '--quick', '--json'],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    (run,) = report['runs']
    assert (run['frames'], run['states']) == (4, {'FITTED': 4}) and report['same_bytes']
    assert 0 < max(run['resident_mib']) <= run['peak_mib']
    stages = run['cpu_ms_by_stage']
    assert set(stages) == set(benchmark.STAGES) and min(stages.values()) > 0
    assert abs(sum(stages.values()) - run['cpu_ms']) < 0.1  # each is rounded
