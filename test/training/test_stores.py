# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shards behind an address: the same as on the disk, and what a store that refuses costs."""

from __future__ import annotations

from contextlib import closing
import json
from pathlib import Path
import pickle
import sys

import cv2
from labelling_programs import red
import numpy as np
import pytest
from store_server import serving
from test_loading import folder_of, PHASE
from test_shards import shards_of

from depth_anything_ros.addresses import Address, path_or_address, Unreachable, without_secrets
from depth_anything_ros.errors import DatasetError, DepthAnythingError
from depth_anything_ros.tools.label import main as label
from depth_anything_ros.training.config import load_config, StudentConfig
from depth_anything_ros.training.loading import draws_of_step, open_pseudo, open_samples, Stream
from depth_anything_ros.training.packing import main as pack
from depth_anything_ros.training.train import train
from depth_anything_ros.training.world_data import render_world
from helpers import tiny_run

fsspec = pytest.importorskip('fsspec')
memory = pytest.importorskip('fsspec.implementations.memory')
SECRET = 'hush/hush'


class Failing(memory.MemoryFileSystem):
    """A store in memory that may refuse to be written, from the n-th file on, or to be read."""

    protocol = 'failing'
    store: dict[str, object] = {}
    pseudo_dirs = ['']
    puts_left = 10**6
    hides = 'nothing'

    def put_file(self, *args: object, **more: object) -> None:
        if Failing.puts_left < 1:
            raise ConnectionResetError(f'failing://key:{SECRET}@bucket went away')
        Failing.puts_left -= 1
        super().put_file(*args, **more)

    def cat_file(self, path: str, **more: object) -> bytes:
        if path.endswith(Failing.hides):
            raise TimeoutError
        return bytes(super().cat_file(path, **more))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    fsspec.register_implementation('failing', Failing, clobber=True)
    for name in ('puts_left', 'hides'):
        monkeypatch.setattr(Failing, name, getattr(Failing, name))
    Failing.store.clear()
    return Failing


def pictures_of(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        ramp = np.linspace(40 + i, 250, 42) * np.ones((28, 1))
        cv2.imwrite(str(folder / f'{i}.png'), np.repeat(ramp.astype(np.uint8)[..., None], 3, 2))
    return folder


def run(program: object, *words: object) -> int:
    if program is pack:
        return pack([str(word) for word in words])
    return label([str(word) for word in words], red)


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != 'lock'}


def as_plain(read: object) -> list[object]:
    return [(sample.image_rgb.tobytes(), sample.inverse_depth.tobytes()) for sample in read]


@pytest.mark.parametrize(('told', 'shown'), [
    ('s3://key:sec/ret@bucket/a', 's3://***@bucket/a'),
    ('https://token@host/a@b', 'https://***@host/a@b'),
    ("url='http://host:80/a?sig=x%2F/y&t=1'): no", "url='http://host:80/a?***'): no"),
    ('memory://a/b@c and gs://d e@f', 'memory://a/b@c and gs://d e@f'),
])
def test_secrets_of_addresses_are_not_told(told: str, shown: str) -> None:
    assert without_secrets(told) == shown


def test_addresses_are_taken_apart_as_paths_are() -> None:
    shard = path_or_address('s3://k:s@b/out/?v=1') / '000001.tar'
    assert isinstance(shard, Address) and (shard.base, shard.query) == (
        's3://k:s@b/out/000001.tar', '?v=1')
    assert (shard.name, shard.stem) == ('000001.tar', '000001')
    assert shard.with_suffix('.npy') == shard.parent / '000001.npy'
    assert str(shard) == repr(shard) == f'{shard}' == 's3://***@b/out/000001.tar?***'
    assert pickle.loads(pickle.dumps(shard)) == shard  # as workers get it
    assert path_or_address('out/a') == Path('out/a')


@pytest.mark.parametrize('program', [pack, label])
def test_a_store_gets_what_a_folder_gets(tmp_path: Path, teacher: Path, program: object) -> None:
    inputs = pictures_of(tmp_path / 'in', 7)
    (inputs / '3.png').write_bytes(b'no picture')
    words = ['--unlabelled'] if program is pack else ['--teacher', teacher, '--device', 'cpu']
    here, there = tmp_path / 'here', tmp_path / 'there'
    for out in (here, f'file://{there}', f'file://{there}'):  # the last finds all of it done
        assert run(program, inputs, out, '--per-shard', 3, *words) == 0
    assert files_of(there) == files_of(here)
    assert len(list(there.glob('*.npy'))) == 3
    address = path_or_address(f'file://{there}/')
    assert as_plain(open_samples([address], False)) == as_plain(open_samples([here], False))


@pytest.mark.parametrize('program', [pack, label])
def test_a_store_is_not_gone_on_with_by_others(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str], program: object
) -> None:
    inputs, name = pictures_of(tmp_path / 'in', 3), 'pack' if program is pack else 'label'
    words = ['--unlabelled'] if program is pack else ['--teacher', teacher, '--device', 'cpu']
    out = f'file://{tmp_path}/out'
    assert run(program, inputs, out, *words) == 0
    before = files_of(tmp_path / 'out')
    for more, why in ((['--jpeg', 90], 'holds shards of other jpeg'),
                      (['--per-shard', 2], 'holds shards of other per_shard')):
        assert run(program, inputs, out, *words, *more) == 2
        assert f'{name}: {out} {why}: give another OUT' in capsys.readouterr().err
    assert run(program, out, out, *words) == 2
    assert f'{name}: OUT {out} is where the pictures of' in capsys.readouterr().err
    assert files_of(tmp_path / 'out') == before


def test_training_from_a_store_is_training_from_the_disk(tmp_path: Path, teacher: Path) -> None:
    render_world(tmp_path / 'world', 8, 0, 56, 42)
    shards, labels = tmp_path / 'shards', tmp_path / 'labels'
    assert run(pack, tmp_path / 'world', shards, '--per-shard', 3) == 0
    assert run(label, shards, labels, '--teacher', teacher, '--device', 'cpu', '--per-shard', 3,
               '--most-disagreement', 99, '--least-spread', 0) == 0
    for name, prefix in (('here', ''), ('there', 'file://')):
        data, pseudo = (path_or_address(f'{prefix}{path}') for path in (shards, labels))
        train(tiny_run(data, tmp_path / name, workers=2 if prefix else 0,
                       student=StudentConfig(pseudo=(pseudo,))))
    weights = [(tmp_path / name / 'checkpoint/model.safetensors').read_bytes()
               for name in ('here', 'there')]
    assert weights[0] == weights[1]


def test_each_sample_is_one_part_and_the_token_goes_to_every_file(tmp_path: Path) -> None:
    folder = shards_of(tmp_path / 'shards', 2, 3)
    with serving(tmp_path) as server:
        server.token = SECRET
        samples = open_samples([path_or_address(f'{server.address}/shards?token={SECRET}')])
        server.parts.clear()
        server.whole = 0
        assert as_plain(samples) == as_plain(open_samples([folder]))
        rows = np.concatenate([np.load(folder / f'{number}.npy') for number in (0, 1)])
        assert server.parts == [(start, start + size - 1) for start, size, _ in rows.tolist()]
        assert server.whole == 0
        (folder / '1.tar').unlink()
        with pytest.raises(DatasetError, match=r'/shards/1.tar\?\*\*\* cannot be read .No such fi'):
            samples[4]
        (folder / '0.tar').write_bytes((folder / '0.tar').read_bytes()[:int(rows[1]['start']) + 9])
        with pytest.raises(DatasetError, match='0.tar.* is cut short: remove its .npy'):
            samples[1]
        server.knows_range = False
        with pytest.raises(Unreachable, match='0.tar.* comes as a whole where a part was asked'):
            samples[0]
        with pytest.raises(Unreachable, match='/shards cannot be read .403, message'):
            open_samples([path_or_address(f'{server.address}/shards')])


def test_a_store_that_is_gone_ends_training_as_a_hundred_corrupt_pictures_do(
    tmp_path: Path
) -> None:
    shards_of(tmp_path / 'shards', 2, 3)
    with serving(tmp_path) as server:
        samples = open_samples([path_or_address(f'{server.address}/shards?token={SECRET}')])
        draws = (draws_of_step(PHASE, 0, step, 1, len(samples), 4) for step in range(1, 9))
        with closing(Stream(samples, draws, 0)) as stream:
            assert next(stream).image_rgb.shape == (4, 3, 28, 42)
            server.breaks_off = True
            with pytest.raises(DatasetError, match='^100 pictures in a row are corrupt') as error:
                next(stream)
    assert 'cannot be read (' in str(error.value) and 'hush' not in str(error.value)


def test_a_store_that_does_not_answer_ends_label_and_loses_no_picture(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = pictures_of(tmp_path / 'in', 6)
    assert run(pack, inputs, tmp_path / 'shards', '--unlabelled', '--jpeg', 0) == 0
    with serving(tmp_path) as server:
        words = [f'{server.address}/shards', tmp_path / 'out', '--teacher', teacher, '--device',
                 'cpu', '--per-shard', 2]
        asked = path_or_address(f'{server.address}/shards')
        read = type(asked).read_bytes

        def breaking(self: Address, start: int | None = None, end: int | None = None) -> bytes:
            server.breaks_off = start is not None and (tmp_path / 'out/000000.npy').exists()
            return read(self, start, end)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Address, 'read_bytes', breaking)
            assert run(label, *words) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(
            f'label: {asked}/000000.tar cannot be read (')
        assert [file.name for file in (tmp_path / 'out').glob('*.npy')] == ['000000.npy']
        server.breaks_off = False
        assert run(label, *words) == 0
    assert len(open_pseudo([tmp_path / 'out'], 0)) == 6


@pytest.mark.parametrize('program', [pack, label])
def test_what_a_store_refuses_is_one_line_and_the_same_call_goes_on(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str], failing: type[Failing],
    program: object
) -> None:
    inputs, out = pictures_of(tmp_path / 'in', 6), f'failing://key:{SECRET}@bucket/out'
    words = ['--unlabelled'] if program is pack else ['--teacher', teacher, '--device', 'cpu']
    words = [inputs, out, '--per-shard', 2, *words]
    finished: dict[str, object] = {}
    lines = []
    for _ in range(12):  # each time one file more is taken, of which those that count stay
        failing.puts_left = len(lines) + 1
        if run(program, *words) == 0:
            break
        lines.append(capsys.readouterr().err.splitlines()[-1])
        assert all(failing.store[name] is file for name, file in finished.items())
        finished = {name: file for name, file in failing.store.items() if name.endswith('.npy')}
    assert 3 <= len(lines) < 12 and finished
    assert not [line for line in lines if 'failing://***@bucket/out/' not in line
                or 'cannot be written (failing://***@bucket went away)' not in line]
    here = tmp_path / 'here'
    assert run(program, inputs, here, *words[2:]) == 0
    stored = {Path(name).name: file.getvalue() for name, file in failing.store.items()}
    assert stored == files_of(here)  # and no secret, since that never knew one
    failing.hides, before = '000001.npy', dict(failing.store)
    assert run(program, *words) == 2  # whether that shard is finished is not known
    lines += capsys.readouterr().err.splitlines()
    assert '000001.npy cannot be read (TimeoutError): see that' in lines[-1]
    assert failing.store == before
    assert 'hush' not in ''.join(lines)


def test_a_secret_is_in_no_file(tmp_path: Path, teacher: Path, failing: type[Failing]) -> None:
    first, second = (f'failing://key:{SECRET}@bucket/{name}' for name in ('first', 'second'))
    assert run(pack, folder_of(tmp_path / 'in', 5), first) == 0
    assert run(label, first, second, '--teacher', teacher, '--device', 'cpu', '--least-spread', 0,
               '--most-disagreement', 99, '--most-sky', 1) == 0
    train(tiny_run(path_or_address(first), tmp_path / 'run',
                   student=StudentConfig(pseudo=(path_or_address(second),))))
    files = [file.getvalue() for file in failing.store.values()]
    files += [file.read_bytes() for file in (tmp_path / 'run').rglob('*') if file.is_file()]
    assert len(files) > 10 and not [data for data in files if b'hush' in data]
    told = next(file for name, file in failing.store.items() if name.endswith('label.json'))
    assert json.loads(told.getvalue())['inputs'] == ['failing://***@bucket/first']
    assert [data for data in files if b'failing://***@bucket/second' in data]  # a run's settings


def test_without_fsspec_an_address_is_refused_in_one_line(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split('.')[0] == 'fsspec']:
        monkeypatch.setitem(sys.modules, name, None)
    inputs, address = pictures_of(tmp_path / 'in', 1), f's3://key:{SECRET}@bucket/x'
    why = ('s3://***@bucket/x is not on this machine, and fsspec, which would reach it, is not '
           "there: pip install 'depth_anything_ros[fleet]', or mount or copy it first")
    assert run(pack, inputs, address, '--unlabelled') == 2
    assert run(label, address, tmp_path / 'out', '--teacher', teacher) == 2
    assert capsys.readouterr().err.splitlines() == [f'pack: {why}', f'label: {why}']
    with pytest.raises(DatasetError) as error:
        train(tiny_run(path_or_address(address), tmp_path / 'run'))
    assert str(error.value) == why


def test_what_is_no_shard_in_a_store_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / 'in', 2)
    for address in (f'file://{folder}', f'file://{tmp_path}/absent', f'file://{folder}/images'):
        assert run(pack, address, tmp_path / 'out') == 2
        assert capsys.readouterr().err == (
            f'pack: {address} holds no shards, which alone are read from a store: see where they '
            'are, or copy bags and pictures to this machine\n')
    assert run(pack, 'nowhere://a', tmp_path / 'out') == 2
    assert 'pack: nowhere://a cannot be read (Protocol not known: nowhere)' in (
        capsys.readouterr().err)
    assert run(pack, 'file:///kitti', tmp_path / 'out', '--dataset', 'kitti') == 2
    assert 'file:///kitti is not on this machine, as --dataset needs it' in capsys.readouterr().err


def test_settings_of_a_run_take_addresses_where_shards_may_be(tmp_path: Path) -> None:
    text = """
        data: [s3://k:s@b/train, here]
        held_out: http://h/held_out?t=1
        out: {out}
        phases: [{{steps: 1, batch_size: 1, sizes: [[28, 42]], lr_from: 0.0, lr_to: 0.0}}]
        student: {{pseudo: [gs://b/labels]}}"""
    (file := tmp_path / 'run.yaml').write_text(text.format(out='build'))
    config = load_config(file)
    assert config.data == (Address('s3://k:s@b/train'), Path('here'))
    assert config.held_out == Address('http://h/held_out', '?t=1')
    assert config.as_plain()['student']['pseudo'] == ['gs://b/labels']
    for word, why in (('s3://b/run', "out: must be a folder on this machine, not 's3://b/run'"),
                      ('build\n        init: 3', 'init: must be')):
        file.write_text(text.format(out=word))
        with pytest.raises(DepthAnythingError, match=why):
            load_config(file)
    with pytest.raises(DepthAnythingError, match=r'data\[0\]: must be a path or an address, not 3'):
        file.write_text(text.format(out='build').replace('s3://k:s@b/train', '3'))
        load_config(file)
