# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the ablation's runs differ in, and all of its tables at toy size."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForDepthEstimation

from depth_anything_ros.training.config import NetworkConfig

DATA = Path('data')


@pytest.fixture
def ablation(monkeypatch):
    """Return the benchmark as a module."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / 'benchmarks'))
    import ablation

    return ablation


@pytest.fixture
def config_of(ablation):
    """Return what the settings of a condition are."""
    return lambda condition: ablation.config_of(Path('out'), DATA, condition, seed=2, steps=100)


def batches(config) -> list[int]:
    return [phase.batch_size for phase in config.phases]


def test_the_control_sees_as_many_pictures_as_the_student_in_as_many_steps(ablation, config_of):
    student, control = config_of('+ strong perturbations'), config_of(ablation.TABLES['control'][1])
    assert student.student.ratio == 2 and batches(student) == [16, 16]  # 16 + 2 * 16 a step
    assert batches(control) == [48, 48] and control.student is None
    assert control.steps == student.steps == 100
    assert control.data == student.data == (DATA / 'labelled',)
    assert control.seed == student.seed == 102  # both start afresh; the teacher's seed is 2


def test_each_subset_is_as_many_pictures_of_one_kind(ablation, config_of):
    kinds = []
    for row in ablation.TABLES['subset'][:3]:
        (name, count, first_seed, kind), = ablation.CONDITIONS[row].labelled
        assert count == 160 and config_of(row).data == (DATA / name,)
        assert config_of(row).seed == 2 and batches(config_of(row)) == [16, 16]
        kinds.append(kind)
    assert kinds == ['room', 'street', 'corridor']
    assert len(config_of(ablation.TABLES['subset'][3]).data) == 3


def test_no_picture_is_in_two_sets(ablation):
    sets = [*ablation.CONDITIONS['labelled all three'].labelled, ablation.UNLABELLED,
            *ablation.TESTS.values()]
    scenes = [seed + i for _, count, seed, _ in sets for i in range(count // 4)]
    assert len(set(scenes)) == len(scenes)


@pytest.fixture
def toy(ablation, monkeypatch):
    """Shrink everything that takes time."""
    def few(pictures, count=8):
        return (pictures[0], count, *pictures[2:])

    monkeypatch.setattr(ablation, 'WIDTH', 70)
    monkeypatch.setattr(ablation, 'HEIGHT', 56)
    monkeypatch.setattr(ablation, 'SIZE', (28, 42))
    monkeypatch.setattr(ablation, 'NETWORK', NetworkConfig(
        hidden_size=24, layers=4, heads=2, neck_sizes=(4, 8, 8, 8), fusion_size=8, input_size=28))
    monkeypatch.setattr(ablation, 'TESTS', {k: few(v, 4) for k, v in ablation.TESTS.items()})
    monkeypatch.setattr(ablation, 'BATCH', 2)
    shrunk = {
        name: replace(c, labelled=tuple(map(few, c.labelled)), batch=c.batch // 8)
        for name, c in ablation.CONDITIONS.items()
    }
    monkeypatch.setattr(ablation, 'CONDITIONS', shrunk)
    monkeypatch.setattr(ablation, 'TABLES', {
        'control': ablation.TABLES['control'],
        'encoder': [row for row in ablation.TABLES['encoder'] if 'tenth' not in row]})
    settings = ablation.settings
    monkeypatch.setattr(ablation, 'settings',
                        lambda *given: replace(settings(*given), workers=0, bf16=False))


@pytest.mark.timeout(300)  # seconds of work, beside other work
def test_two_tables_at_toy_size(ablation, toy, tmp_path, capsys):
    tables = ['control', 'encoder']
    ablation.main(['--out', str(tmp_path), '--tables', *tables, '--seeds', '1', '--steps', '10',
                   '--unlabelled', '16'])
    out = capsys.readouterr().out
    for name in tables:
        for row in ablation.TABLES[name]:
            scores = json.loads(
                (tmp_path / 'seed_0' / ablation.folder_name(row) / 'scores.json').read_text())
            score = np.nanmean(scores['room'])
            assert f'| {row} | ' in out and f'| {score:.3f} |' in out
            assert scores['steps'] == 10 and len(scores['street']) == 4

    for other in (['--steps', '11', '--unlabelled', '16'], ['--steps', '10', '--unlabelled', '8']):
        with pytest.raises(SystemExit, match='give another --out'):
            ablation.main(['--out', str(tmp_path), '--tables', *tables, '--seeds', '1', *other])

    def encoder(folder):
        return AutoModelForDepthEstimation.from_pretrained(
            tmp_path / folder / 'checkpoint', dtype=torch.float32).backbone.state_dict()

    start = encoder('semantic')
    frozen, tuned = (encoder(f'seed_0/encoder_of_classes_{how}') for how in ('frozen', 'tuned'))
    assert all(torch.equal(start[name], frozen[name]) for name in start)
    assert not all(torch.equal(start[name], tuned[name]) for name in start)


def test_differences_are_with_the_first_row_and_by_the_kinds_that_count(ablation, tmp_path):
    rooms, all_but = ablation.TABLES['subset'][0], ablation.TABLES['subset'][1:]
    for row, scores in ((rooms, (0.4, 0.4, 0.1)), (all_but[0], (0.1, 0.3, 0.2))):
        folder = tmp_path / 'seed_0' / ablation.folder_name(row)
        folder.mkdir(parents=True)
        kinds = dict(zip(('street', 'corridor', 'room'), ([s] * 8 for s in scores)))
        (folder / 'scores.json').write_text(json.dumps({'cpu_minutes': 1.5, **kinds}))
    lines = ablation.table(tmp_path, 1, 'subset').splitlines()
    # means (.4 + .4 + .1) / 3 = .3 and (.1 + .3 + .2) / 3 = .2; rows without scores are left out
    assert lines[2] == f'| {rooms} | 0.400 | 0.400 | 0.100 | 0.3000 |  |  | 1.5 |'
    assert lines[3].startswith(f'| {all_but[0]} | 0.100 | 0.300 | 0.200 | 0.2000 | -0.1000 [')
    assert lines[3].endswith(' | 1.5 |') and len(lines) == 4
