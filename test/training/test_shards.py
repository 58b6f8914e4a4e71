# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shards: what is in them, how they are packed and gone on with, and what a broken one costs."""

from __future__ import annotations

from contextlib import closing
import json
from pathlib import Path
import pickle
import tarfile

import cv2
import numpy as np
import pytest
from test_bag_data import calibration, colour, lidar_bag, metres, write_bag
from test_loading import batches, folder_of, PHASE
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import ConfigError, DatasetError
from depth_anything_ros.training import packing
from depth_anything_ros.training.loading import draws_of_step, open_samples, Stream
from depth_anything_ros.training.packing import main, pack, Settings
from depth_anything_ros.training.sample import Sample, UNKNOWN_CLASS
from depth_anything_ros.training.shards import encode, ShardSamples, write_shard
from depth_anything_ros.training.train import train
from depth_anything_ros.training.world_data import open_world, render_world
from helpers import SCENE_CAMERA, tiny_run

PNG = Settings(per_shard=4, jpeg=0)


def picture(size: tuple[int, int] = (3, 4), **more: object) -> Sample:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    inverse = np.full(size, 0.5, np.float32)
    return Sample(image, inverse, np.full(size, UNKNOWN_CLASS, np.uint8), **more)


def members(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as file:
        return {member.name: file.extractfile(member).read() for member in file}


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_shard_is_a_tar_of_pngs_with_the_bits_of_float16(tmp_path: Path) -> None:
    sample = picture(sparse=True, intrinsics=(300.0, 301.0, 1.5, 1.0))
    # float16 has its exponent, plus 15, in bits 10 to 14: 1/2 is 14 << 10, 1/4 m too near for it.
    sample.inverse_depth[0] = [0.25, 0.0, np.nan, 1e6]
    sample.semantic[1, 2] = 7
    stored = encode('a', sample, {'source': 'yard', 'licence': 'CC0'}, jpeg=0)
    assert write_shard(tmp_path / '0.tar', [stored, encode('b', picture(), {})]) == 2
    found = members(tmp_path / '0.tar')
    assert list(found) == ['a.png', 'a.depth.png', 'a.semantic.png', 'a.json', 'b.jpg',
                           'b.depth.png', 'b.json']
    bits = decoded(found['a.depth.png'])
    assert bits.dtype == np.uint16
    assert bits[0].tolist() == [13 << 10, 0, 0x7e00, 0x7e00] and (bits[1:] == 14 << 10).all()
    np.testing.assert_array_equal(decoded(found['a.png'])[..., ::-1], sample.image_rgb)
    assert json.loads(found['a.json']) == {
        'sparse': True, 'intrinsics': [300, 301, 1.5, 1], 'source': 'yard', 'licence': 'CC0'}
    read = ShardSamples(tmp_path, with_depth=True)[0]
    np.testing.assert_array_equal(read.image_rgb, sample.image_rgb)
    np.testing.assert_array_equal(read.semantic, sample.semantic)
    np.testing.assert_array_equal(read.inverse_depth[0], [0.25, 0, np.nan, np.nan])
    assert (read.sparse, read.intrinsics) == (True, (300, 301, 1.5, 1))


def test_depth_is_right_to_a_twentieth_of_a_percent(tmp_path: Path) -> None:
    depth_m = np.geomspace(0.01, 15000, 40_000, dtype=np.float32).reshape(200, 200)
    sample = Sample(picture((200, 200)).image_rgb, 1 / depth_m, picture((200, 200)).semantic)
    write_shard(tmp_path / '0.tar', [encode('a', sample, {})])
    read = ShardSamples(tmp_path, with_depth=True)[0]
    assert np.abs(read.inverse_depth.astype(float) * depth_m - 1).max() <= 2**-11
    off = np.abs(read.image_rgb.astype(int) - sample.image_rgb)
    assert off.max() > 0  # JPEG


def test_batches_of_shards_are_those_of_what_was_packed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / 'folder', 11)
    assert pack([folder], tmp_path / 'shards', PNG) == []
    assert [file.name for file in sorted((tmp_path / 'shards').glob('*.tar'))] == [
        '000000.tar', '000001.tar', '000002.tar']
    for workers in (0, 2):
        for mine, its in zip(batches(folder, 0, range(2, 5)),
                             batches(tmp_path / 'shards', workers, range(2, 5))):
            assert all(torch.equal(a, b) for a, b in zip(mine, its))


def test_rendered_worlds_keep_their_classes(tmp_path: Path) -> None:
    render_world(tmp_path / 'world', 3, 0, 56, 42)
    pack([tmp_path / 'world'], tmp_path / 'shards', PNG)
    world, shards = open_world(tmp_path / 'world'), open_samples([tmp_path / 'shards'])
    for i in range(3):
        for name in ('image_rgb', 'inverse_depth', 'semantic'):
            np.testing.assert_array_equal(getattr(shards[i], name), getattr(world, name)[i])
    train(tiny_run(tmp_path / 'shards', tmp_path / 'run', workers=0, data=(tmp_path / 'shards',)
                   * 2))
    assert (tmp_path / 'run/checkpoint/model.safetensors').is_file()


class Killed(BaseException):
    """Nothing in the code catches it."""


def test_packing_that_was_killed_goes_on_and_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / 'folder', 11)
    (folder / 'images/00001.jpg').write_bytes(b'no picture')
    left_out = pack([folder], tmp_path / 'whole', PNG)
    assert [line.split(' is corrupt')[0] for line in left_out] == [
        str(folder / 'images/00001.jpg')]
    calls = 0

    def dying(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls in (1, 2, 6, 12):
            raise Killed
        return encode(*args)

    monkeypatch.setattr(packing, 'encode', dying)
    for _ in range(4):
        finished = {file: file.stat().st_mtime_ns for file in (tmp_path / 'cut').glob('*.npy')}
        with pytest.raises(Killed):
            pack([folder], tmp_path / 'cut', PNG)
        for file, time_ns in finished.items():
            assert file.stat().st_mtime_ns == time_ns
    assert len(finished) == 1  # one had been finished when it was killed for the last time
    assert pack([folder], tmp_path / 'cut', PNG) == left_out  # once, though met three times
    assert len(open_samples([tmp_path / 'cut'])) == 10
    whole, cut = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()
                   if file.suffix in ('.tar', '.npy')} for name in ('whole', 'cut'))
    assert whole == cut and len(whole) == 6


def test_a_folder_of_other_shards_is_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / 'folder', 3)
    pack([folder], tmp_path / 'out', PNG)
    command = [str(folder), str(tmp_path / 'out'), '--per-shard', '4']
    assert main([*command, '--jpeg', '0']) == 0
    assert main(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f'pack: {tmp_path / "out"} holds shards of other jpeg: give another OUT, or the same as '
        'before')
    folder_of(tmp_path / 'more', 1)
    with pytest.raises(DatasetError, match='holds shards of other inputs, counts: give another'):
        pack([folder, tmp_path / 'more'], tmp_path / 'out', PNG)


@pytest.mark.parametrize('wrong, words', [
    ({'per_shard': 0}, '--per-shard 0: at least 1'), ({'jpeg': 101}, '--jpeg 101: 1 to 100'),
    ({'split': Path('list')}, '--split lists images of a --dataset')])
def test_settings_that_mean_nothing(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Settings(**wrong)


def test_what_was_left_out_stands_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / 'folder', 5)
    (folder / 'depth/00003.png').unlink()
    assert main([str(folder), str(tmp_path / 'out')]) == 0
    lines = capsys.readouterr().err.splitlines()[-2:]
    assert lines[0] == '1 corrupt pictures were left out:'
    assert lines[1].startswith('depth of 00003 is missing or corrupt')
    assert len(open_samples([tmp_path / 'out'])) == 4


def shards_of(folder: Path, shards: int, each: int) -> Path:
    folder.mkdir()
    for number in range(shards):
        write_shard(folder / f'{number}.tar',
                    (encode(f'{number}_{i:04d}', picture((30, 45)), {}) for i in range(each)))
    return folder


def test_a_broken_shard_costs_its_own_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shards_of(tmp_path / 'shards', 5, 3)
    samples = ShardSamples(folder, with_depth=True)
    data = bytearray((folder / '1.tar').read_bytes())
    data[np.load(folder / '1.npy')[1]['start'] + 700] ^= 1  # one bit of the second's JPEG
    (folder / '1.tar').write_bytes(data)
    start = int(np.load(folder / '2.npy')[1]['start'])
    (folder / '2.tar').write_bytes((folder / '2.tar').read_bytes()[:start + 100])
    (folder / '3.tar').unlink()
    (folder / '3.tar').symlink_to('nowhere')
    messages = {}
    for i in range(15):
        try:
            assert samples[i].image_rgb.shape == (30, 45, 3)
        except DatasetError as error:
            messages[i] = str(error).removeprefix(f'{folder}/')
    short = '2.tar is cut short: remove its .npy and write it again'
    gone = '3.tar cannot be read (No such file or directory): write it again'
    assert messages == {
        4: f'sample 1 of {folder}/1.tar is corrupt (its bytes have changed): leave it, or remove '
           'the .npy beside and write the shard again',
        7: short, 8: short, 9: gone, 10: gone, 11: gone}
    (folder / '4.npy').write_bytes(b'no index')
    (folder / '0.npy').unlink()
    assert len(ShardSamples(folder, with_depth=True)) == 9
    assert capsys.readouterr().err == (
        f'left out: {folder}/4.npy is corrupt: remove it and write its shard again\n')


def test_training_goes_on_beside_a_shard_that_is_gone(tmp_path: Path) -> None:
    samples = open_samples([shards_of(tmp_path / 'shards', 3, 120)])
    tar = tmp_path / 'shards/1.tar'
    tar.write_bytes(b'')
    draws = (draws_of_step(PHASE, 0, step, 1, len(samples), 4) for step in range(1, 31))
    with closing(Stream(samples, draws, 0)) as stream:
        for _ in range(30):
            assert next(stream).image_rgb.shape == (4, 3, 28, 42)
    assert list(stream.skipped) == [f'{tar} is cut short: remove its .npy and write it again']


def test_pictures_alone_are_no_labels(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / 'folder', 2)
    pack([folder], tmp_path / 'out', Settings(labelled=False))
    assert 'depth' not in str(list(members(tmp_path / 'out/000000.tar')))
    assert len(open_samples([tmp_path / 'out'], with_depth=False)) == 2
    with pytest.raises(DatasetError, match='sample 1 of .* is corrupt .it holds no depth'):
        open_samples([tmp_path / 'out'])
    (tmp_path / 'out/000000.npy').unlink()
    with pytest.raises(DatasetError, match='holds no sample in a finished shard: pack it to its'):
        open_samples([tmp_path / 'out'])


def test_bags_bring_their_lidar_and_their_lens(tmp_path: Path) -> None:
    bag = lidar_bag(tmp_path / 'bag')
    pack([bag], tmp_path / 'out', PNG)
    sample, packed = open_samples([bag])[0], open_samples([tmp_path / 'out'])[0]
    assert packed.sparse
    np.testing.assert_array_equal(packed.image_rgb, sample.image_rgb)
    np.testing.assert_allclose(packed.inverse_depth, sample.inverse_depth, rtol=2**-11)
    K = SCENE_CAMERA.K
    assert packed.intrinsics == (K[0, 0], K[1, 1], K[0, 2], K[1, 2])


@pytest.mark.parametrize('bent', [False, True])
def test_the_lens_of_a_depth_cameras_bag_is_that_beside_the_image(
    tmp_path: Path, bent: bool
) -> None:
    K = [[9, 0, 4], [0, 8, 3], [0, 0, 1]]
    camera = Camera.from_calibration(8, 6, K, (-0.2, 0, 0, 0, 0) if bent else ())
    bag = write_bag(tmp_path / 'bag', {
        '/eye/image': [colour(0, (9, 9, 9))], '/eye/depth': [metres(0, 2)],
        '/eye/camera_info': [calibration(0, camera)]})
    assert open_samples([bag])[0].intrinsics == (None if bent else (9, 8, 4, 3))


def test_a_share_is_a_stretch_of_every_input_and_none_overlap(tmp_path: Path) -> None:
    inputs = [str(folder_of(tmp_path / name, count)) for name, count in (('a', 10), ('b', 3))]
    taken = {}
    for share in ('0:0.6', '0.6:1'):
        assert main([*inputs, str(tmp_path / share), '--share', share, '--per-shard', '4']) == 0
        taken[share] = [json.loads(data) for tar in sorted((tmp_path / share).glob('*.tar'))
                        for name, data in members(tar).items() if name.endswith('.json')]
    a, b = inputs
    assert [(told['source'], told['index']) for told in taken['0:0.6']] == [
        *((a, i) for i in range(6)), (b, 0), (b, 1)]
    assert [(told['source'], told['index']) for told in taken['0.6:1']] == [
        *((a, i) for i in range(6, 10)), (b, 2)]


@pytest.mark.parametrize(('share', 'said'), [
    ('0.8:0.2', '--share 0.8:0.2: a part from 0 to 1 is needed, such as 0:0.8'),
    ('0:80', '--share 0:80: a part from 0 to 1 is needed, such as 0:0.8'),
    ('nan:1', '--share nan:1: a part from 0 to 1 is needed, such as 0:0.8'),
    ('0:0.1', '--share takes no picture of the inputs: make it larger'),
])
def test_a_share_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], share: str, said: str
) -> None:
    assert main([str(folder_of(tmp_path / 'a', 3)), str(tmp_path / 'out'), '--share', share]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f'pack: {said}'


def test_kitti_is_packed_as_its_publisher_lays_it_out(tmp_path: Path) -> None:
    drive = '2011_09_26/2011_09_26_drive_0001_sync'
    image = tmp_path / f'in/{drive}/image_02/data/0000000005.png'
    truth = tmp_path / f'in/val/{drive[11:]}/proj_depth/groundtruth/image_02/0000000005.png'
    for path, pixels in ((image, np.full((6, 8, 3), (1, 2, 3), np.uint8)),
                         (truth, np.where(np.eye(6, 8), 512, 0).astype(np.uint16))):
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), pixels)
    out = tmp_path / 'out'
    assert main([str(tmp_path / 'in'), str(out), '--dataset', 'kitti', '--jpeg', '0', '--source',
                 'KITTI', '--licence', 'CC BY-NC-SA 3.0']) == 0
    packed = open_samples([out])[0]
    assert packed.sparse and packed.image_rgb[0, 0].tolist() == [3, 2, 1]
    np.testing.assert_array_equal(  # 512 / 256 m
        packed.inverse_depth, np.where(np.eye(6, 8), np.float16(0.5), np.float16(np.nan)))
    told = json.loads(members(out / '000000.tar')['00000000.json'])
    assert told == {'sparse': True, 'intrinsics': None, 'source': 'KITTI', 'index': 0,
                    'licence': 'CC BY-NC-SA 3.0'}


def test_what_is_kept_in_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    few, many = (ShardSamples(shards_of(tmp_path / name, 3, each), with_depth=True)
                 for name, each in (('few', 2), ('lot', 400)))
    assert len(many) == 200 * len(few)
    assert len(pickle.dumps(many)) == len(pickle.dumps(few))  # what each worker is given
