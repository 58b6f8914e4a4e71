# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a run refuses before it costs hours, and what it does without."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from safetensors.torch import load_file
import torch
import yaml

from depth_anything_ros.errors import DatasetError, DepthAnythingError, DeviceError
from depth_anything_ros.training.config import NetworkConfig, Phase, StudentConfig
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.pretrained import start_network
from depth_anything_ros.training.state import newest_state
from depth_anything_ros.training.train import train
from helpers import TINY, tiny_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that has come to its end."""
    out = tmp_path_factory.mktemp('run')
    train(tiny_run(data, out))
    return out


def own_pictures(folder: Path, depth: float) -> Path:
    """Write two pictures of one depth everywhere, as .npy."""
    for kind in ('images', 'depth'):
        (folder / kind).mkdir(parents=True)
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)
        cv2.imwrite(str(folder / f'images/{i}.png'), noise)
        np.save(folder / f'depth/{i}.npy', np.full((60, 80), depth, np.float32))
    return folder


def refusal(error: type[DepthAnythingError], **changes: object) -> str:
    with pytest.raises(error) as caught:
        train(tiny_run(**changes))
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(('change', 'named'), [
    ({'seed': 1}, 'seed'),
    ({'network': dataclasses.replace(TINY, hidden_size=32)}, 'network'),
    ({'ema': 0.9, 'weight_decay': 0.0}, 'weight_decay, ema'),
])
def test_a_state_of_other_settings_is_refused(
    data: Path, done: Path, change: dict[str, object], named: str
) -> None:
    before = newest_state(done)
    text = refusal(DepthAnythingError, world=data, out=done, **change)
    assert f'of a run with other settings ({named}): restore them' in text
    assert newest_state(done) == before


def test_a_run_goes_on_where_only_its_length_and_surroundings_changed(
    data: Path, done: Path
) -> None:
    longer = tiny_run(data, done)
    longer = dataclasses.replace(
        longer, phases=(*longer.phases, Phase(1, 2, ((28, 42),), 0.0, 0.0)), eval_count=1)
    train(longer)
    last = json.loads((done / 'log.jsonl').read_text().splitlines()[-1])
    assert last['step'] == 7


def test_a_state_of_an_earlier_version_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / 'state.pt').touch()
    assert 'is of an earlier version' in refusal(DepthAnythingError, world=data, out=tmp_path)


def test_a_card_that_is_not_there_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    text = refusal(DeviceError, world=data, out=tmp_path, device='cuda:1')
    assert text.startswith('device is cuda:1, which takes 2 CUDA devices here, and PyTorch finds 1')


def test_pictures_without_any_depth_in_range_are_refused(data: Path, tmp_path: Path) -> None:
    millimetres = own_pictures(tmp_path / 'mm', 2500.0)
    metric = dataclasses.replace(TINY, max_depth_m=20)
    run = {'world': data, 'out': tmp_path / 'run', 'network': metric}
    text = refusal(DatasetError, **run, data=(data, millimetres))
    assert f'{millimetres} has no depth between 0.3 and 80 m (their median is 2.5e+03): ' in text
    unknown = own_pictures(tmp_path / 'unknown', 0.0)
    assert '(all are unknown)' in refusal(DatasetError, **run, data=(unknown,))
    assert len(open_samples([millimetres], with_depth=False)) == 2


def test_ones_own_pictures_may_be_held_out(data: Path, tmp_path: Path) -> None:
    own = own_pictures(tmp_path / 'own', 4.0)
    train(tiny_run(data, tmp_path / 'run', held_out=own))
    last = json.loads((tmp_path / 'run/log.jsonl').read_text().splitlines()[-1])
    assert last['held_out']['constant_abs_rel'] == pytest.approx(0, abs=1e-3)  # one depth


def test_pseudo_labels_alone_need_no_labelled_data(
    data: Path, done: Path, tmp_path: Path
) -> None:
    student = StudentConfig(str(done / 'checkpoint'), (data,), labelled=False, ignored=0.1)
    for i, unread in enumerate(((), (tmp_path / 'nowhere',))):
        train(tiny_run(data, tmp_path / f'{i}', data=unread, student=student, init='bundled',
                       network=NetworkConfig(), eval_every=6))
        last = json.loads((tmp_path / f'{i}/log.jsonl').read_text().splitlines()[-1])
        assert last['unlabelled'] > 0 and 'ssi' not in last


@pytest.mark.parametrize(('input_size', 'sizes', 'said'), [
    (0, ((140, 182),), None),  # from scratch 140
    (0, ((182, 140),), None),  # upright pictures
    (28, ((70, 98), (28, 42)), None),  # trained there too
    (28, ((42, 56),), (42, 28, 42)), (28, ((42, 56), (70, 98)), ('42, 70', 28, 70)),
    (0, ((28, 140),), (28, 140, 28)),
])
def test_a_network_that_will_run_at_another_size_is_told_so_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    input_size: int, sizes: tuple[tuple[int, int], ...], said: tuple[object, ...] | None
) -> None:
    first = Phase(1, 1, ((14, 14),), 0.0, 0.0)
    run = tiny_run(tmp_path, tmp_path, network=dataclasses.replace(TINY, input_size=input_size),
                   phases=(first, Phase(1, 1, sizes, 0.0, 0.0)))
    expected = '' if said is None else (
        f'the last phase trains at a shorter side of {said[0]} pixels and the node will run at '
        f'{said[1]}, where such a network is worse: set network.input_size to {said[2]}, or end '
        f'with sizes of {said[1]}\n')
    assert start_network(run)[1] == (input_size or 140)
    assert capsys.readouterr().err == expected
    monkeypatch.setenv('RANK', '1')  # of several processes the first says it
    start_network(run)
    assert capsys.readouterr().err == ''


FULL = """
import sys
from full_disk import no_room
from depth_anything_ros.training.train import main
no_room(None, int(sys.argv.pop(1)))
sys.exit(main())
"""


@pytest.mark.parametrize('bytes_a_file', [5_000, 200_000])  # not the weights, or not the state
def test_a_disk_that_is_full_ends_the_run_in_one_line_and_is_gone_on_from(
    data: Path, tmp_path: Path, bytes_a_file: int
) -> None:
    run = tiny_run(data, tmp_path / 'run')
    half = dataclasses.replace(run.phases[1], steps=1, lr_to=0.75e-3)  # its learning rate there
    train(dataclasses.replace(run, phases=(run.phases[0], half)))
    saved = (tmp_path / 'run/checkpoint/model.safetensors').read_bytes()
    assert len(saved) > 5_000
    plain = json.loads(json.dumps(dataclasses.asdict(run), default=str))
    (tmp_path / 'run.yaml').write_text(yaml.safe_dump(plain))
    ended = subprocess.run([sys.executable, '-c', FULL, str(bytes_a_file), tmp_path / 'run.yaml'],
                           capture_output=True, text=True, env={
                               **os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT / "test"}'})
    assert ended.returncode == 2
    assert 'Traceback' not in ended.stderr
    assert re.fullmatch(rf'train: cannot save to {tmp_path}/run \(.*File too large.*\): make room '
                        'there or give another out; the last good state stays',
                        ended.stderr.splitlines()[-1])
    assert (tmp_path / 'run/checkpoint/model.safetensors').read_bytes() == saved
    train(run)
    train(tiny_run(data, tmp_path / 'whole'))
    resumed, whole = (load_file(tmp_path / name / 'checkpoint/model.safetensors')
                      for name in ('run', 'whole'))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in resumed.items())
