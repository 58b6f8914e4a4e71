# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder that `pack` fills: whose it is, and what of it is made again."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
import subprocess
import sys
import tarfile
import zlib

import numpy as np
import pytest
from test_loading import folder_of
from test_shards import shards_of

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.labelling.run import Settings as LabelSettings
from depth_anything_ros.tools.label import main as label
from depth_anything_ros.training import packing, shards
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.packing import main, pack, Settings
from depth_anything_ros.training.shards import encode, is_finished, ROW, ShardSamples, write_shard

ROOT = Path(__file__).resolve().parents[2]
PNG = Settings(per_shard=2, jpeg=0)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()
            if file.suffix in ('.tar', '.npy')}


@pytest.mark.parametrize('inside', ['.', 'images', '../in', 'link'])
def test_out_where_the_pictures_are_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], inside: str
) -> None:
    folder = folder_of(tmp_path / 'in', 3)
    (folder / 'link').symlink_to(folder / 'images')
    before = sorted(folder.rglob('*'))
    assert main([str(folder), str(folder / inside)]) == 2
    assert said(capsys).startswith(f'pack: OUT {folder / inside} is where the pictures of ')
    assert label([str(folder), str(folder / inside), '--teacher', 'bundled']) == 2
    assert said(capsys).startswith(f'label: OUT {folder / inside} is where the pictures of ')
    assert sorted(folder.rglob('*')) == before
    assert main([str(folder), str(folder / 'shards')]) == 0
    assert main([str(folder), str(tmp_path / 'in2')]) == 0  # its name begins alike


@pytest.mark.parametrize('out', ['/proc/x', 'in/images/00000.jpg', 'in/images/00000.jpg/x'])
def test_an_out_that_cannot_be_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    folder = folder_of(tmp_path / 'in', 1)
    for program, more in ((main, []), (label, ['--teacher', 'bundled', '--device', 'cpu'])):
        assert program([str(folder), str(tmp_path / out), *more]) == 2
        assert f': cannot write to {tmp_path / out} (' in said(capsys)


def test_two_at_once_in_one_folder_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / 'in', 3)
    (out := tmp_path / 'out').mkdir()
    with (out / 'lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main([str(folder), str(out)]) == 2
    assert said(capsys) == (
        f'pack: another pack is at work in {out}: wait for it, or give another OUT')
    assert not list(out.glob('*.tar'))
    assert main([str(folder), str(out)]) == 0


def test_shards_of_another_program_are_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / 'in', 3)
    packed = tmp_path / 'packed'
    pack([folder], packed, PNG)
    before = sorted(packed.iterdir())
    words = [str(folder), str(packed), '--teacher', 'bundled', '--device', 'cpu']
    assert label(words) == 2
    assert said(capsys) == (f'label: {packed} holds shards, and no label.json that says what they '
                            'are made of: give another OUT')
    assert sorted(packed.iterdir()) == before
    assert len(open_samples([packed])) == 3  # still true depth
    theirs = shards_of(tmp_path / 'theirs', 1, 2)
    with pytest.raises(DatasetError, match='holds shards, and no pack.json that says what they'):
        pack([folder], theirs, PNG)
    assert not (theirs / 'pack.json').exists()


@pytest.mark.parametrize('content', ['', '{', '[1]', '7', 'null', '"x"'])
def test_settings_that_cannot_be_read_are_one_line(tmp_path: Path, content: str) -> None:
    folder, out = folder_of(tmp_path / 'in', 2), tmp_path / 'out'
    pack([folder], out, PNG)
    (out / 'pack.json').write_text(content)
    with pytest.raises(DatasetError, match='pack.json is corrupt: give another OUT'):
        pack([folder], out, PNG)


def test_what_is_broken_is_made_again_to_the_same_bytes(tmp_path: Path) -> None:
    folder, out = folder_of(tmp_path / 'in', 5), tmp_path / 'out'
    pack([folder], out, PNG)
    whole = files_of(out)
    tar, index = out / '000001.tar', out / '000001.npy'
    for size in range(0, len(whole[tar.name]), 512):
        tar.write_bytes(whole[tar.name][:size])
        assert not is_finished(tar)
    pack([folder], out, PNG)
    assert files_of(out) == whole
    for data in (b'', b'junk', whole['000000.npy'][:-1]):
        index.write_bytes(data)
        pack([folder], out, PNG)
        assert files_of(out) == whole
    tar.unlink()
    times = {file: file.stat().st_mtime_ns for file in out.glob('00000[02]*')}
    pack([folder], out, PNG)
    assert files_of(out) == whole
    assert times == {file: file.stat().st_mtime_ns for file in times}  # those that were whole


def test_no_index_of_a_shard_before_lies_beside_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two, a new tar beside an old index would look finished."""
    folder = shards_of(tmp_path / 'shards', 1, 3)
    sample = ShardSamples(folder, with_depth=True)[0]
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.suffix == '.npy':
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
        write_shard(folder / '0.tar', [encode('other', sample, {}, 0)] * 3)
    assert not is_finished(folder / '0.tar')
    with pytest.raises(DatasetError, match='holds no sample in a finished shard'):
        ShardSamples(folder, with_depth=True)


def test_every_place_where_a_shard_ends_too_soon_costs_what_lies_beyond(tmp_path: Path) -> None:
    folder = shards_of(tmp_path / 'shards', 1, 3)
    tar, samples = folder / '0.tar', ShardSamples(folder, with_depth=True)
    data, rows = tar.read_bytes(), np.load(folder / '0.npy')
    for size in range(0, len(data) + 1, 512):
        tar.write_bytes(data[:size])
        for i, row in enumerate(rows):
            if row['start'] + row['bytes'] <= size:
                assert samples[i].image_rgb.shape == (30, 45, 3)
            else:
                with pytest.raises(DatasetError, match='0.tar is cut short: remove its .npy'):
                    samples[i]


def test_an_index_of_another_shard_is_no_sample_of_this(tmp_path: Path) -> None:
    few, many = shards_of(tmp_path / 'few', 1, 2), shards_of(tmp_path / 'many', 1, 4)
    other = ShardSamples(many, True)[0]
    write_shard(many / '0.tar', [encode(f'{i}', other, {'more': 'x' * 600}) for i in range(4)])
    (few / '0.npy').write_bytes((many / '0.npy').read_bytes())
    samples = ShardSamples(few, with_depth=True)
    for i in range(4):
        with pytest.raises(DatasetError, match='its bytes have changed|is cut short') as error:
            samples[i]
        assert '\n' not in str(error.value)


@pytest.mark.parametrize('rows', [
    np.zeros(3), np.zeros((2, 2), ROW), np.zeros((), ROW), np.zeros(2, 'u1,u1'),
    np.array([None], object), {'a': np.ones(3)}])
def test_an_index_that_is_none_is_left_out_with_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: object
) -> None:
    folder = shards_of(tmp_path / 'shards', 2, 2)
    with (folder / '0.npy').open('wb') as file:
        np.savez(file, **rows) if isinstance(rows, dict) else np.save(file, rows)
    assert len(ShardSamples(folder, with_depth=True)) == 2
    assert capsys.readouterr().err.startswith(f'left out: {folder}/0.npy is ')


@pytest.mark.parametrize(('start', 'length'), [(2**64 - 1, 10), (2**63, 1), (0, 2**32 - 1)])
def test_places_that_no_file_has_are_one_line(tmp_path: Path, start: int, length: int) -> None:
    folder = shards_of(tmp_path / 'shards', 1, 2)
    samples = ShardSamples(folder, with_depth=True)
    np.save(folder / '0.npy', np.array([(start, length, 0)], ROW))
    for i, why in ((0, 'is cut short'), (1, 'changed while it was read: start again')):
        with pytest.raises(DatasetError, match=why):
            samples[i]


@pytest.mark.parametrize('told', [
    b'null', b'[1]', b'7', b'{"intrinsics": 3}', b'{"intrinsics": [1, 2]}', b'\xff', b'[' * 99999,
    b'{"intrinsics": [null, 1, 2, 3]}', b'{"intrinsics": {"fx": 1}}', b''])
def test_a_json_of_anything_costs_its_own_sample(tmp_path: Path, told: bytes) -> None:
    folder = shards_of(tmp_path / 'shards', 1, 1)
    stored = encode('a', ShardSamples(folder, with_depth=True)[0], {})
    good = encode('b', ShardSamples(folder, with_depth=True)[0], {})
    stored.members['json'] = told
    write_shard(folder / '0.tar', [stored, good])
    samples = ShardSamples(folder, with_depth=True)
    with pytest.raises(DatasetError, match=r'sample 0 of .* is corrupt \(its .json is broken\)'):
        samples[0]
    assert samples[1].image_rgb.shape == (30, 45, 3)


def test_a_member_that_claims_more_than_there_is_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tarfile.TarInfo('a.jpg')
    info.size, info.type = 0, tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b'\x80' + (2**50).to_bytes(11, 'big')  # the size once it is laid out
    header[148:156] = b'%06o\0 ' % (sum(header[:148]) + sum(header[156:512]) + 8 * 32)
    monkeypatch.setattr(shards, '_member', lambda name, data: bytes(header))
    folder = shards_of(tmp_path / 'shards', 1, 1)
    with pytest.raises(DatasetError, match='corrupt .it claims more bytes than there are'):
        ShardSamples(folder, with_depth=True)[0]


def test_broken_bytes_with_the_right_checksum_are_a_sample_or_one_line(tmp_path: Path) -> None:
    folder = shards_of(tmp_path / 'shards', 1, 1)
    whole, rng = (folder / '0.tar').read_bytes()[:-1024], np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=rng.integers(1, 4)):
            data[place] = rng.integers(256)
        (folder / '0.tar').write_bytes(data)
        np.save(folder / '0.npy', np.array([(0, len(data), zlib.crc32(data))], ROW))
        try:
            sample = ShardSamples(folder, with_depth=True)[0]
        except DatasetError as error:
            assert str(error).isprintable()
            refused += 1
        else:
            assert sample.image_rgb.shape[:2] == sample.inverse_depth.shape
    assert 50 < refused < 290


def test_both_programs_write_shards_of_the_same_size_by_default() -> None:
    labels = LabelSettings(ModelConfig())
    assert (labels.per_shard, labels.jpeg) == (Settings().per_shard, Settings().jpeg) == (1000, 95)


def test_names_that_cannot_be_printed_are_left_out_and_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / 'in', 2)
    bad = [b'\xff\xfe.png', b'a\nb.png', b'\x1b[31m.png']
    for name in bad:
        (Path(str(folder / 'images').encode().decode()).joinpath(
            name.decode('utf-8', 'surrogateescape'))).write_bytes(b'no picture')
    (folder / 'images/sp ace äöü.v2.jpg').write_bytes((folder / 'images/00000.jpg').read_bytes())
    (folder / 'depth/sp ace äöü.v2.png').write_bytes((folder / 'depth/00000.png').read_bytes())
    lines = pack([folder], tmp_path / 'out', PNG)
    assert len(lines) == len(bad) and all(line.isprintable() for line in lines)
    assert len(open_samples([tmp_path / 'out'])) == 3
    assert (tmp_path / 'out/left_out.txt').read_text().splitlines() == lines
    assert json.loads((tmp_path / 'out/pack.json').read_text())['counts'] == [6]


def test_packing_that_is_interrupted_is_one_line_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / 'in', 5)
    words = [str(folder), str(tmp_path / 'out'), '--per-shard', '2', '--jpeg', '0']
    taken: list[object] = []

    def interrupted(*args: object) -> object:
        taken.append(args)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return encode(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, 'encode', interrupted)
        assert main(words) == 130
    assert said(capsys) == 'pack: stopped; the same call goes on from here'
    assert main(words) == 0
    pack([folder], tmp_path / 'whole', PNG)
    assert files_of(tmp_path / 'out') == files_of(tmp_path / 'whole')


def test_a_disk_that_is_full_is_one_line_and_gone_on_from(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / 'in', 5, (60, 80))
    run = ('import sys; from full_disk import no_room; no_room(None, 300); '
           'from depth_anything_ros.training.packing import main; sys.exit(main())')
    words = [folder, tmp_path / 'out', '--per-shard', '2', '--jpeg', '0']
    ended = subprocess.run([sys.executable, '-B', '-c', run, *words], capture_output=True,
                           text=True, env={**os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT / "test"}'})
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        f'pack: cannot write to {tmp_path / "out"} (File too large): make room or give another '
        'OUT, then call it again')
    assert main([str(word) for word in words]) == 0
    pack([folder], tmp_path / 'whole', PNG)
    assert files_of(tmp_path / 'out') == files_of(tmp_path / 'whole')
