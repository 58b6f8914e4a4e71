# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shards on two workers of a Ray cluster of this machine, some of whom die."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path

from labelling_programs import broken, mortal, red
import pytest
from test_label import files_of, folder_of

from depth_anything_ros import ray_workers
from depth_anything_ros.addresses import path_or_address
from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import CheckpointError, DatasetError
from depth_anything_ros.labelling.ray_engine import RayEngine
from depth_anything_ros.labelling.run import Engine, label, LocalEngine, Settings, Totals
from depth_anything_ros.labelling.teacher import LoadPredictor
from helpers import TEST

pytest.importorskip('ray')
pytestmark = pytest.mark.timeout(600)  # a worker imports PyTorch, on a busy machine for a while


@pytest.fixture(scope='module')
def engine() -> Iterator[RayEngine]:
    """Return two workers on this machine; they import what the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(TEST.parent), str(TEST), *filter(None, [os.environ.get('PYTHONPATH')])]
        patch.setenv('PYTHONPATH', os.pathsep.join(paths))
        patch.delenv('RAY_ADDRESS', raising=False)
        engine = RayEngine(workers=2)
        yield engine
        engine.close()


def run(folder: Path, out: str, engine: Engine, load: LoadPredictor) -> Totals:
    settings = Settings(ModelConfig(checkpoint=str(folder / 'teacher')), per_shard=5)
    return label([folder / 'in'], path_or_address(out), settings, engine, load, 'cpu')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder_of(tmp_path / 'in', 23)
    (tmp_path / 'in/0007.png').write_bytes(b'no picture')
    (tmp_path / 'teacher').mkdir()
    (tmp_path / 'teacher/config.json').write_text('{}')
    return tmp_path


def test_workers_that_are_killed_lose_nothing_and_shards_are_the_same(
    engine: RayEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run(folder, f'{folder}/alone', LocalEngine(), red)
    (folder / 'teacher/kill0').touch()
    (folder / 'teacher/kill1').touch()
    assert run(folder, f'{folder}/ray', engine, mortal) == alone
    assert (alone.pictures, alone.labelled, alone.left_out) == (23, 22, {'corrupt': 1})
    assert len(alone.named) == 1 and '0007.png is corrupt' in alone.named[0]
    assert not list((folder / 'teacher').glob('kill*'))
    assert files_of(folder / 'ray') == files_of(folder / 'alone')
    assert len(files_of(folder / 'ray')) == 5 * 4 + 1
    (folder / 'teacher/kill0').touch()
    assert run(folder, f'file://{folder}/store', engine, mortal) == alone
    assert files_of(folder / 'store') == files_of(folder / 'alone')
    monkeypatch.setattr(ray_workers, 'ATTEMPTS', 1)
    (folder / 'teacher/kill0').touch()
    with pytest.raises(DatasetError, match='tar: its worker died 1 times .*--workers'):
        run(folder, f'{folder}/given_up', engine, mortal)
    assert run(folder, f'{folder}/given_up', engine, red) == alone  # the next run goes on
    assert files_of(folder / 'given_up') == files_of(folder / 'alone')


def test_what_no_shard_is_to_blame_for_ends_the_run_in_one_line(
    engine: RayEngine, folder: Path
) -> None:
    with pytest.raises(CheckpointError, match='^there is no network: look elsewhere$'):
        run(folder, f'{folder}/out', engine, broken)
