# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags on two workers of a Ray cluster of this machine, some of whom die."""

import json
import os
from pathlib import Path
import shutil

import pytest
from ray_networks import (
    AT_IMAGE,
    broken,
    dead_at_the_end,
    GO,
    KILLED,
    mortal,
    NOTES,
    noting,
    patient,
)
from recorded_drive import drive, write_bag

from depth_anything_ros import ray_workers
from depth_anything_ros.annotation.engines import Job, LocalEngine
from depth_anything_ros.annotation.ray_engine import RayEngine
from depth_anything_ros.annotation.unfinished import unfinished
from depth_anything_ros.annotation.unit import Request
from depth_anything_ros.annotation.unit_report import read_report, report_path, Unit, Work
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import CheckpointError, ConfigError
from helpers import TEST

pytest.importorskip('ray')
pytestmark = pytest.mark.timeout(600)  # a worker imports PyTorch, on a busy machine for a while

BAGS, FRAMES, WORKERS, CORES = 8, 4, 2, 2
TOPIC = '/front/image_raw'


@pytest.fixture(scope='module')
def engine():
    """Return two workers on this machine; they import what the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(TEST.parent), str(TEST), *filter(None, [os.environ.get('PYTHONPATH')])]
        patch.setenv('PYTHONPATH', os.pathsep.join(paths))
        patch.delenv('RAY_ADDRESS', raising=False)
        patch.delenv('OMP_NUM_THREADS', raising=False)
        engine = RayEngine(workers=WORKERS, cores=CORES)
        yield engine
        engine.close()


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    """Return a folder of eight bags, each a little longer than the one before."""
    folder = tmp_path_factory.mktemp('bags')
    messages = drive(FRAMES)
    for i in range(BAGS):
        write_bag(folder / f'bag{i}', messages[: len(messages) - i])
    return folder


def job(folder, load=mortal, **parameters):
    """Return what is to be done, with a network that dies as a folder says."""
    values = {'model.checkpoint': str(folder)} | parameters
    return Job(Request(), with_values(Config(), values), load)


def run(engine, bags, out, of, tell=lambda *_: None, stopped=lambda: False):
    """Annotate bags; return the reports by name."""
    work = [Work(Unit(str(bag)), out / bag.name) for bag in bags]
    reports = list(engine.run(work, of, tell, stopped))
    assert len({report.output for report in reports}) == len(reports)  # none twice
    return {Path(report.output).name: report for report in reports}


def files_of(folder):
    """Return the bytes of all files of a bag."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_worker_that_is_killed_loses_nothing_and_broken_bags_are_told_alone(
    engine, bags, tmp_path
):
    there = sorted(bags.iterdir())
    corrupt = shutil.copytree(there[0], tmp_path / 'in' / 'corrupt')
    (corrupt / 'bag0.mcap').write_bytes(b'no bag at all')
    cut = shutil.copytree(there[1], tmp_path / 'in' / 'cut')
    whole = (cut / 'bag1.mcap').read_bytes()
    (cut / 'bag1.mcap').write_bytes(whole[: len(whole) * 3 // 4])
    there.append(cut)
    (tmp_path / f'{KILLED}1').touch()
    reports = run(engine, [corrupt, *there], tmp_path / 'ray', job(tmp_path))
    assert not list(tmp_path.glob(f'{KILLED}*'))  # one has died
    alone = run(LocalEngine(), there, tmp_path / 'here', job(tmp_path))
    assert set(reports) == {*alone, 'corrupt'} and len(alone) == BAGS + 1
    for name, report in alone.items():
        frames = report.cameras[TOPIC].frames
        assert report.finished and (0 < frames < FRAMES if name == 'cut' else frames == FRAMES)
        assert any('is broken' in note for note in report.notes) == (name == 'cut')
        assert reports[name].notes == report.notes
        assert reports[name].cameras == report.cameras
        assert files_of(tmp_path / 'ray' / name) == files_of(tmp_path / 'here' / name)
        assert read_report(report_path(tmp_path / 'ray' / name)) == reports[name]
    assert not reports['corrupt'].finished and 'corrupt' in reports['corrupt'].error
    outputs = {path.name for path in (tmp_path / 'ray').iterdir()}
    assert outputs == {*alone, *(f'{name}.report.json' for name in reports)}


def test_a_worker_asks_for_its_cores_and_uses_no_more(engine, bags, tmp_path, monkeypatch):
    first, *_ = sorted(bags.iterdir())
    alone = run(LocalEngine(), [first], tmp_path / 'here', job(tmp_path))
    assert alone['bag0'].finished
    monkeypatch.setattr(engine, '_workers', None)
    for cores, threads in (1, set()), (CORES, {'measure_0', 'write_0'}):
        monkeypatch.setattr(engine, '_cores', cores)
        assert engine._count('auto') == WORKERS * CORES // cores
        out = tmp_path / str(cores)
        assert run(engine, [first], out, job(tmp_path, noting))['bag0'].finished
        noted = json.loads((tmp_path / NOTES).read_text())
        assert set(noted['threads']) == threads and noted['network'] == cores
        assert files_of(out / 'bag0') == files_of(tmp_path / 'here' / 'bag0')


def test_a_unit_that_kills_every_worker_is_named_and_left_to_the_next_run(
    engine, bags, tmp_path, monkeypatch
):
    monkeypatch.setattr(ray_workers, 'ATTEMPTS', 2)
    for i in range(2):
        (tmp_path / f'{KILLED}{i}').touch()
    monkeypatch.setattr(engine, '_workers', 1)
    first, *_ = sorted(bags.iterdir())
    reports = run(engine, [first], tmp_path / 'out', job(tmp_path))
    assert 'died 2 times' in reports['bag0'].error and '--workers' in reports['bag0'].error
    assert not (tmp_path / 'out' / 'bag0').exists()
    reports = run(LocalEngine(), [first], tmp_path / 'out', job(tmp_path))  # the next run goes on
    assert reports['bag0'].finished and not unfinished(tmp_path / 'out' / 'bag0').exists()


def test_a_worker_that_dies_with_the_output_in_its_place_has_done_its_unit(
    engine, bags, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine, '_workers', 1)
    first, *_ = sorted(bags.iterdir())
    reports = run(engine, [first], tmp_path / 'ray', job(tmp_path, dead_at_the_end))
    alone = run(LocalEngine(), [first], tmp_path / 'here', job(tmp_path))
    assert reports['bag0'].finished and reports['bag0'].cameras == alone['bag0'].cameras
    assert files_of(tmp_path / 'ray' / 'bag0') == files_of(tmp_path / 'here' / 'bag0')


def test_a_wish_to_stop_lets_the_image_in_hand_be_done_and_begins_nothing(
    engine, bags, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine, '_workers', 1)
    folder, out, told, asked = tmp_path / 'network', tmp_path / 'out', [], []
    folder.mkdir()

    def tell(task, done, of):
        told.append((task.out.name, done, of))
        # An answer is on its way while the wish is sent; the one after it comes after the wish.
        if len(asked) > 2:
            (folder / GO).touch()

    def stopped():
        if ('bag0', AT_IMAGE - 1, FRAMES) in told:
            asked.append(len(told))
        return bool(asked)

    there = sorted(bags.iterdir())[:3]
    reports = run(engine, there, out, job(folder, patient), tell, stopped)
    assert list(reports) == ['bag0'] and not reports['bag0'].error
    assert not reports['bag0'].finished and reports['bag0'].cameras[TOPIC].frames == AT_IMAGE
    assert {path.name for path in out.iterdir()} == {'bag0.unfinished', 'bag0.report.json'}


def test_what_no_bag_is_to_blame_for_ends_the_run_in_one_line(engine, bags, tmp_path):
    first, *_ = sorted(bags.iterdir())
    with pytest.raises(CheckpointError, match='^there is no network: look elsewhere$'):
        run(engine, [first], tmp_path, job(tmp_path, broken))
    with pytest.raises(ConfigError, match='gives each worker a card of its own'):
        run(engine, [first], tmp_path, job(tmp_path, **{'runtime.device': 'cuda:1'}))
    with pytest.raises(ConfigError, match='has not 2 CPU and a GPU for one worker yet: --workers'):
        RayEngine._count(_Without(engine), 'cuda')


class _Without:
    """An engine that says no number of workers."""

    def __init__(self, engine):
        """Look at the cluster of another."""
        self._ray, self._workers, self._on_gpu = engine._ray, None, engine._on_gpu
        self._cores = engine._cores


@pytest.mark.parametrize('address', ['127.0.0.1:9', '127.0.0.1:x', 'nowhere.invalid:6379'])
def test_an_address_without_a_cluster_is_one_line(address):
    with pytest.raises(ConfigError, match=f'^no Ray cluster at --address {address} ') as raised:
        RayEngine(address)
    assert '\n' not in str(raised.value)
