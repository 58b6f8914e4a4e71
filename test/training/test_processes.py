# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One run in one process, in parts and in several processes; and the state they share."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file, save_file
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
import yaml

from depth_anything_ros.errors import DepthAnythingError, DeviceError
from depth_anything_ros.training.config import NetworkConfig, TrainConfig
from depth_anything_ros.training.state import newest_state
from depth_anything_ros.training.train import main, train
from helpers import tiny_run

pytestmark = pytest.mark.timeout(400)  # seconds, but on a machine that is busy
ROOT = Path(__file__).resolve().parents[2]


def run(data: Path, out: Path, more_steps: int = 1, **changes: object) -> TrainConfig:
    """Return a run in which nothing depends on how its batches of 4 are divided.

    Its first two steps move the weights; the others move but the optimizer's moments, in which the
    gradients can be compared: Adam brings the smallest of them, all rounding, to full size.
    """
    config: TrainConfig = tiny_run(data, out, **changes)
    first = dataclasses.replace(config.phases[0], batch_size=4, colours=0.0)
    rest = dataclasses.replace(first, steps=more_steps, lr_from=0.0, lr_to=0.0)
    return dataclasses.replace(config, phases=(first, rest), eval_every=9)


def first_phase(config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(config, phases=config.phases[:1])


def weights(config: TrainConfig) -> dict[str, torch.Tensor]:
    return dict(load_file(config.out / 'checkpoint/model.safetensors'))


def moments(config: TrainConfig, file: Path) -> dict[str, torch.Tensor]:
    """Return the optimizer's first moments by the name of their weights."""
    dcp_to_torch_save(newest_state(config.out), file)
    state = torch.load(file, weights_only=False)['optimizer']['state']
    return {name: values['exp_avg'] for name, values in state.items()}


def assert_same(config: TrainConfig, expected: Trained, file: Path) -> None:
    """Compare weights to the last bit, and moments up to rounding."""
    assert all(torch.equal(tensor, expected.weights[name])
               for name, tensor in weights(config).items())
    found = moments(config, file)
    assert found.keys() == expected.moments.keys()
    rounding = 1e-5 * max(float(tensor.abs().max()) for tensor in expected.moments.values())
    for name, tensor in expected.moments.items():
        largest = float(tensor.abs().max())
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-4 * largest + rounding,
                                   msg=lambda text, name=name: f'{name}: {text}')


@dataclasses.dataclass(frozen=True)
class Trained:
    """What one process made of a run, and the folder of its first phase."""

    begun: Path
    weights: dict[str, torch.Tensor]
    moments: dict[str, torch.Tensor]

    def begun_in(self, out: Path) -> Path:
        """Return the folder with its first phase in it."""
        shutil.copytree(self.begun, out)
        return out


@pytest.fixture(scope='module')
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp('alone')
    begun, config = folder / 'begun', run(data, folder / 'run')
    train(first_phase(config))
    shutil.copytree(config.out, begun)
    train(config)
    return Trained(begun, weights(config), moments(config, folder / 'state.pt'))


def test_parts_of_a_batch_teach_what_the_whole_does(
    data: Path, alone: Trained, tmp_path: Path
) -> None:
    config = run(data, alone.begun_in(tmp_path / 'run'), accumulate=4)
    train(config)
    assert_same(config, alone, tmp_path / 'state.pt')


def test_two_processes_train_the_network_that_one_does(
    data: Path, alone: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with the whole network, in two parts, or half of it; and one goes on from two."""
    ddp = run(data, alone.begun_in(tmp_path / 'ddp'), accumulate=2, workers=1)
    fsdp = run(data, alone.begun_in(tmp_path / 'fsdp'), strategy='fsdp')
    runs = []
    for config in (ddp, fsdp):
        file = config.out.with_suffix('.yaml')
        file.write_text(yaml.safe_dump(config.as_plain()))
        runs.append(subprocess.Popen(
            [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
             '-m', 'depth_anything_ros.training.train', str(file)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, 'OMP_NUM_THREADS': '1'}))
    for process in runs:
        output, _ = process.communicate()
        assert process.returncode == 0, output
    assert_same(ddp, alone, tmp_path / 'state.pt')
    newest = newest_state(fsdp.out)
    assert newest is not None and len(list(newest.glob('*.distcp'))) == 2  # each wrote its part
    # Convolutions round otherwise where weights lie in another order, and losses have kinks.
    monkeypatch.setattr(torch, 'channels_last', torch.contiguous_format)
    plain = run(data, alone.begun_in(tmp_path / 'plain'))
    for more_steps in (1, 2):  # the second goes on from what two processes left
        for config in (plain, fsdp):
            train(run(data, config.out, more_steps))
        expected = Trained(plain.out, weights(plain), moments(plain, tmp_path / 'state.pt'))
        assert_same(fsdp, expected, tmp_path / 'state.pt')


def test_a_frozen_encoder_stays_as_it_was_and_the_decoder_learns(
    data: Path, alone: Trained, tmp_path: Path
) -> None:
    config = run(data, tmp_path / 'run', init=str(alone.begun / 'checkpoint'), encoder_lr=0.0,
                 network=NetworkConfig())
    train(config)
    before = load_file(alone.begun / 'checkpoint/model.safetensors')
    for name, tensor in weights(config).items():
        frozen = (name.startswith('backbone.')
                  or name.startswith('neck.fusion_stage.layers.0.residual_layer1'))
        assert torch.equal(tensor, before[name]) == frozen, name


def test_an_encoder_without_a_mask_token_is_trained_too(
    data: Path, alone: Trained, tmp_path: Path
) -> None:
    shutil.copytree(alone.begun / 'checkpoint', start := tmp_path / 'start')
    config = json.loads((start / 'config.json').read_text())
    config['backbone_config']['use_mask_token'] = False
    (start / 'config.json').write_text(json.dumps(config))
    tensors = load_file(start / 'model.safetensors')
    del tensors['backbone.embeddings.mask_token']
    save_file(tensors, start / 'model.safetensors', metadata={'format': 'pt'})
    train(run(data, tmp_path / 'run', init=str(start), network=NetworkConfig()))
    assert 'backbone.embeddings.mask_token' not in weights(run(data, tmp_path / 'run'))


@pytest.mark.parametrize(('processes', 'parts', 'shares'), [(3, 1, 3), (8, 1, 8), (2, 4, 8)])
def test_batches_that_cannot_be_shared_out_evenly_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, parts: int,
    shares: int
) -> None:
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'any')
    monkeypatch.setenv('WORLD_SIZE', str(processes))
    monkeypatch.setenv('LOCAL_WORLD_SIZE', str(processes))
    with pytest.raises(DepthAnythingError, match=f'a batch_size is 4, and {processes} processes '
                                                 f'.* need a multiple of {shares}: change it'):
        train(run(data, tmp_path, accumulate=parts))


def test_one_card_for_many_processes_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'any')
    monkeypatch.setenv('WORLD_SIZE', '4')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '4')
    with pytest.raises(DeviceError, match='cuda:1 for each of 4 processes: set it to cuda'):
        train(run(data, tmp_path, device='cuda:1'))
    with pytest.raises(DeviceError, match='takes 4 CUDA devices here, and PyTorch finds 2: '):
        train(run(data, tmp_path, device='cuda'))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_so_and_goes_on(
    data: Path, alone: Trained, tmp_path: Path, number: signal.Signals
) -> None:
    config = dataclasses.replace(
        run(data, alone.begun_in(tmp_path / 'run'), more_steps=100_000, workers=1), eval_every=3)
    (file := tmp_path / 'run.yaml').write_text(yaml.safe_dump(config.as_plain()))
    process = subprocess.Popen(
        [sys.executable, '-m', 'depth_anything_ros.training.train', str(file)], cwd=ROOT,
        stderr=subprocess.PIPE, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    log = config.out / 'log.jsonl'
    with process:
        try:
            while '"step": 3,' not in log.read_text() and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(number)
            _, errors = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 128 + number, errors
    newest = newest_state(config.out)
    assert newest is not None
    until = int(newest.name)
    assert errors.splitlines()[-1] == (
        f'train: stopped and saved at step {until}; the same call goes on from there')
    assert 'Traceback' not in errors
    train(run(data, config.out, more_steps=until - 1))  # one step further than what was saved
    steps = [json.loads(line)['step'] for line in log.read_text().splitlines()]
    assert steps[-1] == until + 1
    assert sorted(set(steps)) == steps  # none twice


def test_two_processes_of_which_one_is_asked_to_stop_save_the_same_step(
    data: Path, alone: Trained, tmp_path: Path
) -> None:
    config = run(data, alone.begun_in(tmp_path / 'run'), more_steps=100_000, strategy='fsdp')
    (file := tmp_path / 'run.yaml').write_text(yaml.safe_dump(config.as_plain()))
    stops = """
import os, sys
from pathlib import Path
from depth_anything_ros.training.config import load_config
from depth_anything_ros.training.train import train
asked = iter([False, os.environ['RANK'] == '1', True])
assert train(load_config(Path(sys.argv[1])), lambda: next(asked)) == 4
"""
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
         '--no-python', sys.executable, '-c', stops, str(file)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    newest = newest_state(config.out)
    assert newest is not None and newest.name == '4'


def test_a_log_that_was_cut_short_goes_on_with_whole_lines(
    data: Path, alone: Trained, tmp_path: Path
) -> None:
    config = run(data, alone.begun_in(tmp_path / 'run'))
    log = config.out / 'log.jsonl'
    whole = log.read_text()
    log.write_text(whole + whole.replace('"step": 2', '"step": 3') + whole[:-30])
    train(config)
    assert [json.loads(line)['step'] for line in log.read_text().splitlines()] == [2, 3]


@pytest.mark.parametrize('out', ['/proc/nowhere', '{file}', '{file}/below'])
def test_out_that_cannot_be_written_is_one_line(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], out: str
) -> None:
    (tmp_path / 'a').touch()
    (file := tmp_path / 'run.yaml').write_text(yaml.safe_dump(run(data, tmp_path).as_plain()))
    out = out.format(file=tmp_path / 'a')
    assert main([str(file), '--out', out]) == 2
    assert re.fullmatch(rf'train: cannot save to {out} \(.*\): make room there or give another '
                        'out; the last good state stays\n', capfd.readouterr().err)


@pytest.mark.parametrize('spoil', [
    lambda state: cut(state / '.metadata'),
    lambda state: (state / '.metadata').unlink(),
    lambda state: cut(state / '__0_0.distcp'),
    lambda state: (state / '__0_0.distcp').unlink(),
    lambda state: cut(state / 'about.json'),
    lambda state: (state / 'about.json').write_text('{}'),
])
def test_a_state_that_cannot_be_read_is_one_line(
    data: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    config = run(data, tmp_path)
    train(first_phase(config))
    state = newest_state(config.out)
    assert state is not None
    spoil(state)
    with pytest.raises(DepthAnythingError, match=r'state/2 cannot be read .*: remove ') as caught:
        train(config)
    assert '\n' not in str(caught.value) and 'Traceback' not in str(caught.value)


def test_a_run_killed_while_it_saved_goes_on_from_the_state_before(
    data: Path, alone: Trained, tmp_path: Path
) -> None:
    config = run(data, alone.begun_in(tmp_path / 'run'))
    part = config.out / 'state/3.part'
    part.mkdir()
    (part / 'about.json').write_text('{"step": 3')
    train(config)
    assert [path.name for path in (config.out / 'state').iterdir()] == ['3']
    assert_same(config, alone, tmp_path / 'state.pt')
