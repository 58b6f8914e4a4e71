# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`label`: what lies in its shards, and what kills, corruption and other settings do to a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import fcntl
import json
from pathlib import Path
import random
import shutil
import subprocess
import sys
import tarfile

import cv2
from labelling_programs import red, start
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.labelling import run
from depth_anything_ros.labelling.run import LocalEngine, Settings
from depth_anything_ros.labelling.shard import Job, read_report, ShardMaker
from depth_anything_ros.ros.bags import TYPES
from depth_anything_ros.tools.label import main
from depth_anything_ros.training.loading import open_pseudo, open_samples
from depth_anything_ros.training.shards import decode, ShardSamples


def folder_of(path: Path, count: int, size: tuple[int, int] = (28, 42), first: int = 0) -> Path:
    """Write pictures, each of which gets brighter to the right in its own way."""
    path.mkdir(parents=True)
    for i in range(first, first + count):
        ramp = np.linspace(40 + i, 250, size[1]) * np.ones((size[0], 1))
        cv2.imwrite(str(path / f'{i:04d}.png'), np.repeat(ramp.astype(np.uint8)[..., None], 3, 2))
    return path


def label(inputs: object, out: Path, teacher: Path, *more: object) -> int:
    """Label with a network that says red, four pictures a shard."""
    words = [*(inputs if isinstance(inputs, list) else [inputs]), out, '--teacher', teacher,
             '--device', 'cpu', '--per-shard', 4, *more]
    return main([str(word) for word in words], red)


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ''}


def keys_of(folder: Path) -> list[str]:
    found = []
    for tar in sorted(folder.glob('*.tar')):
        with tarfile.open(tar) as opened:
            found += [name[:-5] for name in opened.getnames() if name.endswith('.json')]
    return found


def test_a_shard_has_pictures_labels_confidence_a_sheet_and_a_report(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = folder_of(tmp_path / 'in', 6)
    cv2.imwrite(str(pictures / '0003.png'), np.full((28, 42, 3), 99, np.uint8))  # constant
    (pictures / '0004.png').write_bytes(b'no picture')
    assert label(pictures, tmp_path / 'out', teacher, '--jpeg', 0) == 0
    assert sorted(files_of(tmp_path / 'out')) == [
        *(f'00000{n}.{kind}' for n in (0, 1) for kind in ('jpg', 'json', 'npy', 'tar')),
        'label.json']
    assert capsys.readouterr().err.splitlines()[-5:] == [
        f'4 of 6 pictures are labelled in {tmp_path / "out"}', '1 were left out: corrupt',
        '1 were left out: near constant', 'the corrupt ones:',
        f'{pictures}/0004.png is corrupt or no picture, or is cut short: remove or replace it']
    samples = open_pseudo([tmp_path / 'out'], 0)
    assert len(samples) == 4
    for sample, name in zip(samples, ('0000', '0001', '0002', '0005')):
        picture = cv2.imread(str(pictures / f'{name}.png'))
        red = picture[..., 0] - float(picture.min())
        np.testing.assert_array_equal(sample.image_rgb, picture)
        np.testing.assert_allclose(sample.inverse_depth, red / red.max(), rtol=2**-11)
    report = read_report(tmp_path / 'out/000000.tar')
    assert (report.pictures, report.labelled, report.filtered) == (4, 3, {'3': 'near_constant'})
    told = json.loads((tmp_path / 'out/label.json').read_text())
    with tarfile.open(tmp_path / 'out/000000.tar') as tar:
        names = tar.getnames()
        assert names[:4] == [f'000000000.{kind}' for kind in (
            'png', 'depth.png', 'json', 'confidence.png')]
        about = json.loads(tar.extractfile('000000000.json').read())
    assert about == {'sparse': False, 'intrinsics': None, 'source': str(pictures), 'index': 0,
                     'teacher': told['teacher'], 'metric': False}
    assert read_report(tmp_path / 'out/000001.tar').teacher == told['teacher']
    assert cv2.imread(str(tmp_path / 'out/000000.jpg')).shape == (216, 768, 3)


@pytest.mark.parametrize(('store', 'count', 'most'), [('', 160, 5), ('file://', 60, 2)])
def test_kills_lose_no_finished_shard_and_duplicate_none(
    tmp_path: Path, store: str, count: int, most: int
) -> None:
    pictures = folder_of(tmp_path / 'in', count)
    words = [pictures, f'{store}{tmp_path}/out', '--teacher', 'bundled', '--device', 'cpu',
             '--input-size', 28, '--per-shard', 2, '--most-disagreement', 99]
    chance = random.Random(4)
    kept: dict[Path, tuple[bytes, int]] = {}
    kills = 0
    while kills < most:
        process = start(words)
        wanted = len(kept) // 4 + kills + chance.randrange(3)
        while process.is_alive() and len(list((tmp_path / 'out').glob('*.npy'))) < wanted:
            process.join(0.01)
        process.join(chance.uniform(0, 0.1))  # anywhere in what comes then
        assert process.is_alive(), 'it ended before it was killed'
        process.kill()
        process.join()
        kills += 1
        for file, (data, time_ns) in kept.items():
            assert (file.read_bytes(), file.stat().st_mtime_ns) == (data, time_ns)
        kept = {file.with_suffix(suffix): (file.with_suffix(suffix).read_bytes(),
                                           file.with_suffix(suffix).stat().st_mtime_ns)
                for file in (tmp_path / 'out').glob('*.npy')
                for suffix in ('.npy', '.tar', '.jpg', '.json')}
    assert kept
    process = start(words)
    process.join()
    assert process.exitcode == 0
    for file, (data, time_ns) in kept.items():
        assert (file.read_bytes(), file.stat().st_mtime_ns) == (data, time_ns)
    process = start([pictures, tmp_path / 'whole', *words[2:]])
    process.join()
    assert files_of(tmp_path / 'out') == files_of(tmp_path / 'whole')  # and no halves are left
    assert keys_of(tmp_path / 'out') == [f'{i:09d}' for i in range(count)]


def test_another_teacher_or_other_settings_are_refused_in_one_line(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, out = folder_of(tmp_path / 'in', 6), tmp_path / 'out'
    assert label(pictures, out, teacher) == 0
    before = files_of(out)
    assert label(pictures, out, teacher, '--most-sky', 0.5) == 2
    assert label(pictures, out, teacher, '--per-shard', 3) == 2
    folder_of(tmp_path / 'more', 5, first=6)
    assert label([pictures, tmp_path / 'more'], out, teacher) == 2
    (teacher / 'config.json').write_text('{"other": 1}')
    assert label(pictures, out, teacher) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith('label:')]
    assert told == [
        f'label: {out} holds shards of other {what}: give another OUT, or the same as before'
        for what in ('most_sky', 'per_shard', 'inputs, counts', 'teacher')]
    assert label(pictures, tmp_path / 'second', teacher) == 0
    for suffix in ('tar', 'npy', 'json'):  # a shard from elsewhere
        shutil.copy(out / f'000001.{suffix}', tmp_path / 'second')
    assert label(pictures, tmp_path / 'second', teacher) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f'label: {tmp_path / "second"}/000001.tar was made by another teacher or with other '
        'settings: remove it and its .npy, or give another OUT')
    assert files_of(out) == before
    (tmp_path / 'second/000001.npy').unlink()
    assert label(pictures, tmp_path / 'second', teacher) == 0
    assert keys_of(tmp_path / 'second') == [f'{i:09d}' for i in range(6)]


def test_a_list_that_has_changed_is_refused(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of(tmp_path / 'in', 3)
    (lines := tmp_path / 'list.txt').write_text('in/0000.png\nin/0001.png\n')
    assert label(lines, tmp_path / 'out', teacher) == 0
    assert keys_of(tmp_path / 'out') == ['000000000', '000000001']
    lines.write_text('in/0000.png\nin/0002.png\n')
    assert label(lines, tmp_path / 'out', teacher) == 2
    assert 'holds shards of other lists: ' in capsys.readouterr().err


def test_two_at_once_in_one_folder_are_refused(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = folder_of(tmp_path / 'in', 2)
    (tmp_path / 'out').mkdir()
    with (tmp_path / 'out/lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert label(pictures, tmp_path / 'out', teacher) == 2
    assert 'label: another label is at work in' in capsys.readouterr().err
    assert label(pictures, tmp_path / 'out', teacher) == 0


def test_a_corrupt_shard_costs_its_own_samples(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, shards = folder_of(tmp_path / 'in', 12), tmp_path / 'shards'
    assert label(pictures, shards, teacher) == 0
    data = (shards / '000001.tar').read_bytes()
    assert len(open_pseudo([shards], 0)) == 12
    (shards / '000001.tar').write_bytes(data[:len(data) // 2])
    capsys.readouterr()
    assert label(shards, tmp_path / 'again', teacher) == 0  # of labelled shards, others
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f'{shards}/000001.tar is cut short: remove its .npy and write it again'
    count = len(lines) - 1 - lines.index('the corrupt ones:')
    assert 2 <= count <= 3
    labelled = open_pseudo([tmp_path / 'again'], 0)
    assert len(labelled) == 12 - count
    assert [file.name for file in sorted((tmp_path / 'again').glob('*.npy'))] == [
        f'00000{n}.npy' for n in range(3)]


def test_a_shard_of_nothing_is_finished_all_the_same(tmp_path: Path, teacher: Path) -> None:
    pictures = folder_of(tmp_path / 'in', 8)
    for i in range(4, 8):
        (pictures / f'{i:04d}.png').write_bytes(b'')
    assert label(pictures, tmp_path / 'out', teacher) == 0
    assert len(ShardSamples(tmp_path / 'out', with_depth=True)) == 4
    assert read_report(tmp_path / 'out/000001.tar').left_out == {'corrupt': 4}


def test_labels_are_no_depth_and_depth_is_no_labels(tmp_path: Path, teacher: Path) -> None:
    pictures = folder_of(tmp_path / 'in', 3)
    assert label(pictures, tmp_path / 'out', teacher) == 0
    with pytest.raises(DatasetError, match="holds a teacher's labels, which are no true depth"):
        open_samples([tmp_path / 'out'])
    assert len(open_samples([tmp_path / 'out'], with_depth=False)) == 3
    with pytest.raises(DatasetError, match='in holds no labels of a teacher: make them by label'):
        open_pseudo([pictures], 0)


def test_labels_that_are_less_sure_are_unknown(tmp_path: Path, teacher: Path) -> None:
    pictures = folder_of(tmp_path / 'in', 1)
    assert label(pictures, tmp_path / 'out', teacher, '--jpeg', 0) == 0
    assert np.isfinite(open_pseudo([tmp_path / 'out'], 0.9)[0].inverse_depth).all()
    with tarfile.open(tmp_path / 'out/000000.tar') as tar:
        members = {name.partition('.')[2]: tar.extractfile(name).read() for name in tar.getnames()}
    sure = np.full((28, 42), 255, np.uint8)
    sure[:, :20] = 127  # below a half
    members['confidence.png'] = cv2.imencode('.png', sure)[1].tobytes()
    inverse = decode(members, True, 0.5).inverse_depth
    assert np.isnan(inverse[:, :20]).all() and np.isfinite(inverse[:, 20:]).all()


PROGRAM = """
import resource, sys
sys.path.insert(0, sys.argv.pop(1))
from labelling_programs import red
from depth_anything_ros.tools.label import main
assert main(sys.argv[1:], red) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_does_not_grow_with_a_list(tmp_path: Path, teacher: Path) -> None:
    folder_of(tmp_path / 'in', 1)
    peaks = {}
    for count in (2_000, 60_000):  # one in 2000 is there
        lines = tmp_path / f'{count}.txt'
        lines.write_text(''.join('in/0000.png\n' if i % 2000 == 0 else f'in/none/{i:08d}.png\n'
                                 for i in range(count)))
        done = subprocess.run(
            [sys.executable, '-c', PROGRAM, str(Path(__file__).parents[1]), str(lines),
             str(tmp_path / f'out{count}'), '--teacher', str(teacher), '--device', 'cpu',
             '--per-shard', '2000'], capture_output=True, text=True, check=True)
        peaks[count] = float(done.stdout.splitlines()[-1])
        assert f'and {count - count // 2000 - 20} more, which' in done.stderr
    assert peaks[60_000] - peaks[2_000] < 6, peaks


@pytest.mark.parametrize('storage', StoragePlugin)
@pytest.mark.parametrize('cores', [None, 1])
def test_bags_are_read_by_whichever_thread_asks(
    tmp_path: Path, teacher: Path, storage: StoragePlugin, cores: int | None
) -> None:
    kind, head = TYPES.types['sensor_msgs/msg/Image'], TYPES.types['std_msgs/msg/Header']
    time = TYPES.types['builtin_interfaces/msg/Time']
    with Writer(tmp_path / 'bag', version=8, storage_plugin=storage) as writer:
        topic = writer.add_connection('/image', kind.__msgtype__, typestore=TYPES)
        for i in range(9):
            ramp = np.linspace(40 + i, 250, 42).astype(np.uint8) * np.ones((28, 1), np.uint8)
            message = kind(head(time(0, i), 'eye'), 28, 42, 'mono8', 0, 42, ramp.ravel())
            writer.write(topic, i, TYPES.serialize_cdr(message, kind.__msgtype__))
    settings = Settings(ModelConfig(checkpoint=str(teacher)), per_shard=4)

    class Elsewhere(LocalEngine):
        """Makes each shard on another thread, as Ray may."""

        def run(self, numbers: Sequence[int], job: Job) -> Iterator[int]:
            maker = ShardMaker(replace(job, cores=cores))
            for number in numbers:
                with ThreadPoolExecutor(1) as other:
                    yield other.submit(maker.make, number).result()

    totals = run.label([tmp_path / 'bag'], tmp_path / 'out', settings, Elsewhere(), red, 'cpu')
    assert (totals.labelled, totals.left_out) == (9, {})
    samples = open_pseudo([tmp_path / 'out'], 0)
    assert [int(sample.image_rgb[0, 0, 0]) for sample in samples] == pytest.approx(
        range(40, 49), abs=3)
