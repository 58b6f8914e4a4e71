# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures at their own size: crops, labels, EXIF; streams that do not grow, and skip."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
import dataclasses
import gc
import json
import multiprocessing
import os
from pathlib import Path
import signal
import subprocess
import sys

import cv2
from full_disk import no_room
import numpy as np
from PIL import Image
import pytest
import torch
from transformers import AutoModelForDepthEstimation

from depth_anything_ros.errors import DatasetError, DepthAnythingError
from depth_anything_ros.training import loading
from depth_anything_ros.training.augment import random_crop
from depth_anything_ros.training.config import Phase
from depth_anything_ros.training.folder_data import FolderSamples
from depth_anything_ros.training.loading import draws_of_step, open_samples, Stream
from depth_anything_ros.training.pictures import read_pictures
from depth_anything_ros.training.sample import Sample
from depth_anything_ros.training.train import train
from helpers import tiny_run

PHASE = Phase(1, 4, ((28, 42),), 0.0, 0.0)


def columns(width: int, height: int) -> Sample:
    """Return a picture whose red tells the column, as does its inverse depth (from 1 on)."""
    column = np.broadcast_to(np.arange(width), (height, width))
    image = np.repeat((column * 255 / width).astype(np.uint8)[..., None], 3, axis=2)
    return Sample(image, (1 + column).astype(np.float32), np.zeros((height, width), np.uint8))


def folder_of(path: Path, count: int, size: tuple[int, int] = (30, 45)) -> Path:
    """Write pictures of one gray each, at 2 m."""
    for kind in ('images', 'depth'):
        (path / kind).mkdir(parents=True)
    depth_m = np.full(size, 2000, np.uint16)
    for i in range(count):
        cv2.imwrite(str(path / f'images/{i:05d}.jpg'), np.full((*size, 3), i % 256, np.uint8))
        cv2.imwrite(str(path / f'depth/{i:05d}.png'), depth_m)
    return path


def test_labels_lie_on_the_picture() -> None:
    # 1280 columns become 224: 5.7 to a pixel. The middle of pixel x is 1280 / 224 (x + .5) - .5.
    sample = columns(1280, 720)
    crop = random_crop(sample, (126, 224), torch.Generator(), centre=True)
    label = crop[1] * (1280 / 224 * 126 / 720) - 1  # column again, of what was made nearer
    middle = 1280 / 224 * (torch.arange(224) + 0.5) - 0.5
    off_px = label - middle
    assert float(off_px.abs().max()) <= 0.501
    assert abs(float(off_px.mean())) < 0.08  # every seventh lies half way between two columns
    seen = crop[0][0].float() * 1280 / 255
    assert abs(float((seen - middle)[:, 2:-2].mean())) < 2.6  # grays are cut off to steps of 5
    assert float((seen - middle)[:, 2:-2].std()) < 2


def test_crops_see_every_column_of_a_wide_picture_in_its_own_pixels() -> None:
    sample = columns(1242, 375)  # KITTI
    seen = np.zeros(1242, bool)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        image, inverse, _ = random_crop(sample, (378, 504), generator)
        assert image.shape == (3, 378, 504)
        column = (inverse * _zoom(inverse) - 1).round().int().unique()
        assert len(column) <= 500 + 60  # 375 rows, 500 columns at most, some more by the tilt
        seen[column.numpy()] = True
    assert seen[60:-60].all() and seen[:60].any() and seen[-60:].any()
    middle = random_crop(sample, (378, 504), generator, centre=True)[1]
    middle = middle * _zoom(middle) - 1
    assert (round(float(middle.min())), round(float(middle.max()))) == (371, 870)


def _zoom(inverse: torch.Tensor) -> float:
    """Return by what depth was made nearer: labels are whole columns divided by it."""
    values = inverse.unique()
    return 1 / float((values[1:] - values[:-1]).median())


def test_single_known_pixels_stay_where_the_picture_has_them() -> None:
    # Every known pixel is white on black, 9 pixels apart; the crop is a third of the size.
    generator = torch.Generator().manual_seed(2)
    inverse = np.full((360, 480), np.nan, np.float32)
    inverse[4::9, 4::9] = 0.5
    image = np.repeat(np.where(np.isfinite(inverse), 255, 0).astype(np.uint8)[..., None], 3, 2)
    image = cv2.dilate(image, np.ones((3, 3), np.uint8))
    sample = Sample(image, inverse, np.zeros(inverse.shape, np.uint8), sparse=True)
    for _ in range(10):
        cut, found, _ = random_crop(sample, (112, 154), generator)
        known = found.isfinite()
        assert 500 < int(known.sum()) <= 40 * 53  # of which a crop has 30 % or more
        white = cut[0].float()
        around = torch.nn.functional.max_pool2d(white[None, None], 3, 1, 1)[0, 0]
        inner = torch.zeros_like(known)
        inner[2:-2, 2:-2] = True
        assert float(around[known & inner].min()) > 30  # each has its white spot beside it
        assert float(white[known & inner].mean()) > 4 * float(white[~known].mean())
    dense = dataclasses.replace(sample, sparse=False)
    assert int(random_crop(dense, (112, 154), generator)[1].isfinite().sum()) < 400


@pytest.mark.parametrize('size', [(140, 182), (140, 308), (518, 686)])
def test_depth_is_that_of_the_whole_picture_at_the_shorter_side(size: tuple[int, int]) -> None:
    # A lens of focal length f pixels becomes f 518 / 360 in the whole picture at 518 rows, and
    # f / (source pixels in a crop's pixel) in the crop.
    sample = dataclasses.replace(columns(640, 360), inverse_depth=np.ones((360, 640), np.float32))
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        state = generator.get_state()
        _, inverse, _ = random_crop(sample, size, generator)
        generator.set_state(state)
        _, column, _ = random_crop(columns(640, 360), size, generator)
        column = column / inverse
        rise = torch.stack([column[:, 1:] - column[:, :-1]]).mean()
        down = (column[1:] - column[:-1]).mean()
        source_px = float(torch.hypot(rise, down))
        nearer = source_px * size[0] / 360
        assert float(inverse[0, 0]) == pytest.approx(1 / nearer, rel=0.02)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_turns_picture_depth_and_mask_alike(tmp_path: Path, orientation: int) -> None:
    gray = np.random.default_rng(orientation).integers(1, 256, (12, 20), np.uint8)
    for kind in ('images', 'depth', 'mask'):
        (tmp_path / kind).mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(gray).convert('RGB').save(tmp_path / 'images/a.png', exif=exif)
    np.save(tmp_path / 'depth/a.npy', gray.astype(np.float32))
    mask = np.where(gray > 40, 255, 0).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'mask/a.png'), mask)
    sample = FolderSamples(tmp_path, with_depth=True)[0]
    turned = cv2.imread(str(tmp_path / 'images/a.png'))[..., 0]  # OpenCV's own turning
    assert turned.shape == ((12, 20) if orientation < 5 else (20, 12))
    np.testing.assert_array_equal(sample.image_rgb[..., 0], turned)
    expected = np.where(turned > 40, 1 / turned.astype(np.float32), np.nan)
    np.testing.assert_allclose(sample.inverse_depth, expected, rtol=1e-6)
    np.testing.assert_array_equal(read_pictures(tmp_path / 'images', 1)[0][..., 0], turned)


def test_depth_that_was_turned_already_is_told_so(tmp_path: Path) -> None:
    folder_of(tmp_path, 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (45, 30)).save(tmp_path / 'images/00000.jpg', exif=exif)
    cv2.imwrite(str(tmp_path / 'depth/00000.png'), np.full((45, 30), 2000, np.uint16))
    with pytest.raises(DatasetError, match=r'is \(45, 30\) and its picture \(30, 45\): .*, as '
                                           'stored before its EXIF orientation 6 turns it'):
        open_samples([tmp_path])


def test_a_jpeg_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, 1, (300, 400))
    file = tmp_path / 'images/00000.jpg'
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    assert cv2.imread(str(file)) is not None  # half of it gray
    for read in (lambda: open_samples([tmp_path]), lambda: read_pictures(file.parent, 1)):
        with pytest.raises(DatasetError, match='00000.jpg is corrupt .* or is cut short: remove'):
            read()


def test_draws_follow_from_seed_and_step_and_differ_between_processes() -> None:
    draws = draws_of_step(PHASE, 3, 7, 1, 100, 8)
    assert draws == draws_of_step(PHASE, 3, 7, 1, 100, 8)
    assert len({draw.index for draw in draws}) == 8 and len({draw.seed for draw in draws}) == 8
    others = [draws_of_step(PHASE, *which, 100, 8) for which in ((3, 8, 1), (4, 7, 1), (3, 7, 2))]
    assert all({d.seed for d in draws}.isdisjoint(d.seed for d in other) for other in others)
    assert not {d.index for d in draws[::2]} & {d.index for d in draws[1::2]}  # of two processes
    assert len(draws_of_step(PHASE, 3, 7, 2, 3, 8)) == 8  # of three pictures, again and again


def batches(folder: Path, workers: int, steps: range) -> list[tuple[torch.Tensor, ...]]:
    samples = open_samples([folder])
    draws = (draws_of_step(PHASE, 0, step, 1, len(samples), 4) for step in steps)
    with closing(Stream(samples, draws, workers)) as stream:
        found = [next(stream) for _ in steps]
    return [(batch.image_rgb, batch.inverse_depth, batch.semantic) for batch in found]


def test_workers_read_what_one_process_would(tmp_path: Path) -> None:
    folder_of(tmp_path, 40)
    alone, helped = (batches(tmp_path, workers, range(1, 7)) for workers in (0, 2))
    later = batches(tmp_path, 2, range(4, 7))
    for mine, its in [*zip(alone, helped), *zip(alone[3:], later)]:
        assert all(torch.equal(a, b) for a, b in zip(mine, its))


@pytest.mark.parametrize('workers', [0, 2])
def test_corrupt_pictures_are_skipped_and_named_at_the_end(
    tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder_of(tmp_path / 'data', 6)
    bad = sorted((data / 'images').iterdir())[1::2]
    for file in bad:
        file.write_bytes(b'no picture')
    held_out = folder_of(tmp_path / 'held_out', 2)
    train(tiny_run(held_out, tmp_path / 'run', data=(data,), workers=workers))
    said = capsys.readouterr().err.strip().splitlines()[-4:]
    assert said[0] == '3 corrupt pictures were skipped, others taken in their place:'
    assert [line.split(' is corrupt')[0] for line in said[1:]] == [str(file) for file in bad]
    last = json.loads((tmp_path / 'run/log.jsonl').read_text().splitlines()[-1])
    assert last['skipped'] == 3 and last['step'] == 6
    for file in (held_out / 'images').iterdir():
        if file.stem != '00000':
            file.write_bytes(b'no picture')
    with pytest.raises(DatasetError, match='00001.jpg is corrupt'):  # before the first step
        train(tiny_run(held_out, tmp_path / 'other', data=(data,)))
    assert not (tmp_path / 'other').exists()


@pytest.mark.parametrize('workers', [0, 2])
def test_pictures_that_went_away_stop_the_run_in_one_line(tmp_path: Path, workers: int) -> None:
    samples = open_samples([folder_of(tmp_path, 5)])
    for file in (tmp_path / 'images').iterdir():
        file.unlink()
    with (
        closing(Stream(samples, iter([draws_of_step(PHASE, 0, 1, 1, 5, 4)]), workers)) as stream,
        pytest.raises(DatasetError, match='in a row are corrupt; the last') as error,
    ):
        next(stream)
    assert '\n' not in str(error.value)


def test_a_stream_that_is_closed_has_ended_its_workers(tmp_path: Path) -> None:
    samples = open_samples([folder_of(tmp_path, 5)])
    stream = Stream(samples, iter([draws_of_step(PHASE, 0, 1, 1, 5, 4)]), 2)
    next(stream)
    workers = stream._loader._workers
    gc.disable()
    try:
        stream.close()
    finally:
        gc.enable()
    assert [worker.exitcode for worker in workers] == [0, 0]  # by themselves, not by a signal


def test_a_reader_that_is_killed_ends_the_run_in_one_line(tmp_path: Path) -> None:
    data = folder_of(tmp_path / 'data', 4)
    run = tiny_run(data, tmp_path / 'run', steps=100_000, workers=1, eval_every=100_000)

    def kill() -> None:
        while not (workers := multiprocessing.active_children()):
            pass
        workers[0].kill()

    with ThreadPoolExecutor(1) as killer:
        killer.submit(kill)
        with pytest.raises(DepthAnythingError) as error:
            train(run)
    assert str(error.value).startswith('a process that reads pictures was killed, as happens where')
    assert 'set workers: 0' in str(error.value) and '--ipc=host' in str(error.value)
    assert '\n' not in str(error.value) and not multiprocessing.active_children()


def test_shared_memory_that_is_full_ends_the_run_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = open_samples([folder_of(tmp_path, 5)])
    monkeypatch.setattr(loading, '_begin', no_room)
    draws = iter([draws_of_step(PHASE, 0, step, 1, 5, 4) for step in (1, 2)])
    with (
        closing(Stream(samples, draws, 2)) as stream,
        pytest.raises(DepthAnythingError, match='a batch does not fit into shared memory .*: set '
                                                'workers: 0, .* docker run --ipc=host$'),
    ):
        next(stream)


READING = """
import sys
from pathlib import Path
from depth_anything_ros.training.config import Phase
from depth_anything_ros.training.loading import draws_of_step, open_samples, Stream
if __name__ == '__main__':
    samples = open_samples([Path(sys.argv[1])])
    phase = Phase(1, 4, ((28, 42),), 0.0, 0.0)
    stream = Stream(samples, (draws_of_step(phase, 0, step, 1, len(samples), 4)
                              for step in range(1000)), 2)
    next(stream)
    print(*(worker.pid for worker in stream._loader._workers), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_readers_end_with_the_process_that_trains_however_that_ends(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / 'read.py').write_text(READING)
    reading = subprocess.Popen([sys.executable, tmp_path / 'read.py', folder_of(tmp_path / 'a', 4)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    workers = [int(word) for word in reading.stdout.readline().split()]
    assert len(workers) == 2 and all(map(is_running, workers))
    reading.send_signal(number)
    # Their output is this process's pipe: it ends when the last of them has.
    rest, _ = reading.communicate(timeout=60)
    assert reading.returncode == -number and rest == '' and not any(map(is_running, workers))


def is_running(process: int) -> bool:
    try:
        state = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0]
    except FileNotFoundError:
        return False
    return state != 'Z'


def test_resumed_run_with_workers_is_bitwise_the_whole_one(tmp_path: Path) -> None:
    data = folder_of(tmp_path / 'data', 12, (60, 80))
    run = tiny_run(data, tmp_path / 'whole')
    train(run)
    half = dataclasses.replace(run, out=tmp_path / 'cut', workers=2)
    train(dataclasses.replace(half, phases=(run.phases[0], dataclasses.replace(
        run.phases[1], steps=1, lr_to=0.75e-3))))
    train(half)
    whole, cut = (AutoModelForDepthEstimation.from_pretrained(tmp_path / name / 'checkpoint')
                  .state_dict() for name in ('whole', 'cut'))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


MEMORY = """
import sys
from contextlib import closing
from pathlib import Path
from depth_anything_ros.training.config import Phase
from depth_anything_ros.training.loading import draws_of_step, open_samples, Stream
phase = Phase(1, 50, ((28, 42),), 0.0, 0.0)
for folder in sys.argv[1:]:
    samples = open_samples([Path(folder)], with_depth=False)
    draws = (draws_of_step(phase, 0, step, 1, len(samples), 50) for step in range(1, 11))
    with closing(Stream(samples, draws, 0)) as stream:
        for _ in range(10):
            next(stream)
    peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
    print(peak.split()[1], len(samples))
"""


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    folder_of(tmp_path / 'one', 1)
    for count in (2_000, 20_000):
        (tmp_path / f'{count}/images').mkdir(parents=True)
        for i in range(count):
            os.link(tmp_path / 'one/images/00000.jpg', tmp_path / f'{count}/images/{i:05d}.jpg')
    few_kb, many_kb = peaks_kb({tmp_path / '2000': 2_000, tmp_path / '20000': 20_000})
    assert many_kb < 1.1 * few_kb


def peaks_kb(folders: dict[Path, int]) -> list[int]:
    """Return the most memory that one process has had after each folder of so many pictures."""
    done = subprocess.run([sys.executable, '-c', MEMORY, *map(str, folders)], capture_output=True,
                          text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    peaks, counts = zip(*(map(int, line.split()) for line in done.stdout.splitlines()))
    assert counts == tuple(folders.values())
    return list(peaks)
