# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The program annotate: its arguments, its one-line errors, and how it ends."""

import json
import signal
import subprocess
import sys
import time

import pytest
from recorded_drive import drive, load, write_bag

from depth_anything_ros.errors import ConfigError
from depth_anything_ros.ros.bags import open_bag
from depth_anything_ros.ros.parameter_files import load_config
from depth_anything_ros.tools import annotate
from helpers import TEST

PROGRAM = TEST / 'programs' / 'fake_network_annotate.py'
PATIENCE_S = 90


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Return what runs the program in a folder; gives its exit code and what it said."""
    handlers = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(annotate, 'load_predictor', load)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = annotate.main([str(a) for a in arguments])
        return code, capsys.readouterr().err

    yield call
    for number, handler in handlers:
        signal.signal(number, handler)


def topics_of(bag):
    """Return topic -> number of messages."""
    with open_bag(bag) as reader:
        return {c.topic: c.msgcount for c in reader.connections}


def test_a_bag_and_what_is_wanted_of_it(run, tmp_path):
    write_bag('bag', drive(2))
    wanted = 'image,points,relative,image/compressedDepth'
    code, said = run('bag', 'out', '--only-new', '--outputs', wanted,
                     '-p', 'depth.encoding:=16UC1', '-r', 'points:=/lidar/points')
    assert code == 0 and '2 frames, 2 FITTED' in said and 'written: out' in said
    names = ('image', 'points', 'relative', 'image/compressedDepth', 'camera_info', 'scale')
    assert topics_of('out') == {f'/front/depth/{name}': 2 for name in names}
    report = json.loads((tmp_path / 'out.report.json').read_text())
    assert report['finished'] and report['cameras']['/front/image_raw']['frames'] == 2


def test_of_a_folder_what_is_done_is_left_and_a_broken_bag_fails_alone(run, tmp_path):
    for name in ('a', 'b', 'c'):
        (tmp_path / 'in').mkdir(exist_ok=True)
        write_bag(tmp_path / 'in' / name, drive(1))
    (tmp_path / 'in' / 'b' / 'b.mcap').write_bytes(b'none')
    code, said = run('in', 'out')
    assert code == 1 and 'nothing of in/b can be read' in said
    names = {p.name for p in (tmp_path / 'out').iterdir() if p.stem != 'summary'}
    assert names == {'a', 'a.report.json', 'b.report.json', 'c', 'c.report.json'}
    before = (tmp_path / 'out' / 'a' / 'a.mcap').stat().st_mtime_ns
    code, said = run('in', 'out')
    assert code == 1 and 'out/a is done already' in said
    assert (tmp_path / 'out' / 'a' / 'a.mcap').stat().st_mtime_ns == before


@pytest.mark.parametrize(
    'arguments, says',
    [
        (['nothing', 'out'], 'nothing is not there'),
        (['bag', 'bag'], 'bag is in bag'),
        (['bag', 'out', '--device', 'cuda:77,cpu'], 'runtime.device is cuda:77 but '),
        (['bag', 'out', '--device', 'gpu'], 'runtime.device "gpu" is unknown'),
        (['bag', 'out', '--device', 'cpu', '--engine', 'ray'], '--device is for --engine local'),
        (['bag', 'out', '--smooth', '--split', '60'], '--smooth goes over gaps, and --split'),
        (['bag', 'out', '--outputs', 'depth'], '--outputs depth is none of image'),
        (['bag', 'out', '-r', 'points'], '-r points is no remapping'),
        (['bag', 'out', '-r', 'points:=/x'], 'has no /x of the type'),
        (['bag', 'out', '-p', 'scale.method'], '-p scale.method is no parameter'),
        (['bag', 'out', '-p', 'scale.metod:=lidar'], 'unknown parameter "scale.metod"'),
        (['bag', 'out', '-p', 'scale.method:=sonar'], 'scale.method must be one of'),
        (['bag', 'out', '-p', 'scale.max_hold:=[1'], 'is no YAML'),
        (['bag', 'out', '--params-file', 'none.yaml'], 'none.yaml cannot be read'),
        (['bag', 'out', '--params-file', 'other.yaml'], 'other.yaml has no parameters'),
        (['bag', 'out', '--camera-info', 'none.yaml'], 'none.yaml cannot be read'),
        (['bag', 'out', '--camera', '/rear'], 'has no /rear of the type'),
        (['other.yaml', 'out'], 'holds no bag'),
        (['broken.mcap', 'out'], 'nothing of broken.mcap can be read'),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, arguments, says):
    write_bag('bag', drive(1))
    (tmp_path / 'other.yaml').write_text('controller: {ros__parameters: {a: 1}}\n')
    (tmp_path / 'broken.mcap').write_bytes(b'\x89MCAP0\r\n')
    code, said = run(*arguments)
    assert code == 2 and says in said.replace('\n', ' ')
    assert said.count('annotate: ') == 1 and 'Traceback' not in said
    there = {p.name for p in tmp_path.iterdir()} - {f'{arguments[1]}.report.json'}
    assert there == {'bag', 'broken.mcap', 'other.yaml'}


def test_parameters_come_from_the_node_s_own_files(tmp_path):
    path = tmp_path / 'my.yaml'
    path.write_text(
        '/**:\n  ros__parameters: {scale: {max_hold: 1, method: none}, use_sim_time: true}\n'
        'depth_anything:\n  ros__parameters:\n    scale.method: lidar\n'
        '    qos_overrides: {/points: {subscription: {depth: 3}}}\n'
        'other:\n  ros__parameters: {scale: {max_hold: 9}}\n'
    )
    config = load_config(str(path), ['depth.stride:=2'])
    assert (config.scale.max_hold, config.scale.method, config.depth.stride) == (1.0, 'lidar', 2)
    default = TEST.parent / 'config' / 'depth_anything.yaml'
    assert load_config(str(default), []) == load_config(None, [])
    for text in ('', '\0', '[1', '/**: 3', '/**: {ros__parameters: {nothing: 1}}'):
        path.write_text(text)
        try:
            load_config(str(path), [])
        except ConfigError as error:
            assert '\n' not in str(error)


@pytest.mark.timeout(2 * PATIENCE_S + 60)
def test_an_interrupt_leaves_a_bag_that_can_be_read(tmp_path):
    messages = drive(3)
    many = [(topic, t + i * 300_000_000, data) for i in range(400) for topic, t, data in messages]
    write_bag(tmp_path / 'bag', many)
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(tmp_path / 'bag'), str(tmp_path / 'out')],
        stderr=subprocess.PIPE, text=True,
    )
    rooms = tmp_path / 'out.unfinished'
    end = time.monotonic() + PATIENCE_S
    while not any(file.stat().st_size > 1 << 20 for file in rooms.glob('*/out/out.mcap')):
        assert process.poll() is None and time.monotonic() < end, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1 and 'stopped; unfinished' in said and 'Traceback' not in said
    assert not (tmp_path / 'out').exists()
    (left,) = rooms.glob('*/out')
    count = topics_of(left)
    assert 0 < count['/front/depth/image'] == count['/front/depth/scale'] < 1200
    assert not json.loads((tmp_path / 'out.report.json').read_text())['finished']
