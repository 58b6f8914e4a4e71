# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are hardly pictures or depth: each is read as it is meant, or costs itself alone."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import struct
import zlib

import cv2
import numpy as np
from numpy.lib import format as npy
from PIL import Image
import pytest
from test_loading import folder_of
import torch

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.training.augment import random_crop
from depth_anything_ros.training.folder_data import FolderSamples
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.packing import pack, Settings
from depth_anything_ros.training.world_data import render_world


def gray16(path: Path) -> None:
    cv2.imwrite(str(path), np.full((30, 45), 0x80ff, np.uint16))


def alpha(path: Path) -> None:
    cv2.imwrite(str(path), np.dstack([np.full((30, 45, 3), (3, 2, 1), np.uint8),
                                      np.zeros((30, 45), np.uint8)]))


def made(mode: str, colour: object) -> Callable[[Path], None]:
    return lambda path: Image.new(mode, (45, 30), colour).save(path)


@pytest.mark.parametrize(('name', 'write', 'rgb'), [
    ('a.png', gray16, (128, 128, 128)), ('a.png', alpha, (1, 2, 3)),
    ('a.png', made('L', 77), (77, 77, 77)), ('a.jpg', made('L', 77), (77, 77, 77)),
    ('a.png', made('LA', (9, 0)), (9, 9, 9)), ('a.png', made('1', 1), (255, 255, 255)),
    ('a.png', made('P', 0), (0, 0, 0)), ('a.jpg', made('CMYK', (0, 255, 255, 0)), (255, 0, 0)),
    ('a.PNG', made('RGB', (1, 2, 3)), (1, 2, 3)), ('ä b.v2.png', made('RGB', (1, 2, 3)), (1, 2, 3)),
])
def test_every_kind_of_picture_is_eight_bits_of_rgb(
    tmp_path: Path, name: str, write: Callable[[Path], None], rgb: tuple[int, ...]
) -> None:
    write(tmp_path / name)
    image = FolderSamples(tmp_path, with_depth=False)[0].image_rgb
    assert image.shape == (30, 45, 3) and image.dtype == np.uint8
    np.testing.assert_allclose(image[15, 20], rgb, atol=2)  # JPEG


@pytest.mark.parametrize('size', [(1, 1), (1, 400), (400, 1), (2, 3)])
def test_the_smallest_and_thinnest_are_packed_and_cropped(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    folder = folder_of(tmp_path / 'in', 2, size)
    assert pack([folder], tmp_path / 'out', Settings(jpeg=0)) == []
    for samples in (open_samples([folder]), open_samples([tmp_path / 'out'])):
        assert samples[1].image_rgb.shape == (*size, 3)
        for seed in range(20):
            generator = torch.Generator().manual_seed(seed)
            image, inverse, _ = random_crop(samples[1], (28, 42), generator)
            assert image.shape == (3, 28, 42) and bool(inverse.isfinite().all())


def bomb(side: int) -> bytes:
    """Return a PNG of 100 bytes that claims to be so wide and high."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack(
            '>I', zlib.crc32(kind + data))

    head = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head)
            + chunk(b'IDAT', zlib.compress(bytes(99))) + chunk(b'IEND', b''))


def test_what_is_no_picture_costs_itself_alone(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / 'in', 1)
    images = folder / 'images'
    (images / 'bomb.png').write_bytes(bomb(200_000))
    (images / 'folder.png').mkdir()
    (images / 'loop.png').symlink_to('loop.png')
    (images / 'nowhere.png').symlink_to('nothing')
    (images / 'zero.png').symlink_to('/dev/zero')  # without an end
    os.mkfifo(images / 'pipe.png')  # nobody ever writes into it
    lines = pack([folder], tmp_path / 'out', Settings(labelled=False))
    assert [line.removeprefix(f'{images}/') for line in lines] == [
        'bomb.png is corrupt or no picture: remove or replace it',
        'folder.png cannot be read (it is no regular file): remove or replace it',
        'loop.png cannot be read (Too many levels of symbolic links): remove or replace it',
        'nowhere.png cannot be read (No such file or directory): remove or replace it',
        'pipe.png cannot be read (it is no regular file): remove or replace it',
        'zero.png cannot be read (it is no regular file): remove or replace it']
    assert len(open_samples([tmp_path / 'out'], with_depth=False)) == 1


def test_large_pictures_have_exif_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ('a.jpg', 'b.png'):
        Image.new('RGB', (45, 30)).save(tmp_path / name, exif=exif)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)  # 179 million and more are refused
    for i in (0, 1):
        assert FolderSamples(tmp_path, with_depth=False)[i].image_rgb.shape == (45, 30, 3)


HALF = np.broadcast_to(np.arange(45) < 20, (30, 45))


@pytest.mark.parametrize(('stored', 'expected'), [
    (np.full((30, 45), 4, np.int64), 0.25), (np.full((30, 45), 4, '>f8'), 0.25),
    (np.asfortranarray(np.full((30, 45), 4.0)), 0.25), (np.full((30, 45), 4, np.float16), 0.25),
    (np.where(HALF, np.nan, 4.0), np.nan), (np.where(HALF, -1.0, 4.0), np.nan),
    (np.where(HALF, 0.0, 4.0), np.nan), (np.where(HALF, -np.inf, 4.0), np.nan),
    (np.where(HALF, np.inf, 4.0), 0.0), (np.where(HALF, 1e9, 4.0), 0.0),
    (np.where(HALF, 1e300, 4.0), 0.0), (np.where(HALF, 1e-6, 4.0), np.nan),
])
def test_depth_of_any_number_is_inverse_depth_sky_or_unknown(
    tmp_path: Path, stored: np.ndarray, expected: float
) -> None:
    folder = folder_of(tmp_path / 'in', 1)
    np.save(folder / 'depth/00000.npy', stored)
    assert pack([folder], tmp_path / 'out', Settings(jpeg=0)) == []
    inverse = open_samples([tmp_path / 'out'])[0].inverse_depth
    np.testing.assert_array_equal(inverse[:, :20], np.float16(expected))
    np.testing.assert_array_equal(inverse[:, 20:], np.float16(0.25))


def sized(file: Path) -> None:
    """Claim 8 TB."""
    with file.open('wb') as opened:
        npy.write_array_header_1_0(
            opened, {'descr': '<f8', 'fortran_order': False, 'shape': (10**6, 10**6)})


@pytest.mark.parametrize(('write', 'why'), [
    (sized, 'is corrupt'),
    (lambda file: file.write_bytes(b''), 'is corrupt'),
    (lambda file: np.savez(file.open('wb'), a=np.ones((30, 45))), 'is corrupt'),
    (lambda file: np.save(file, np.full((30, 45), None, object)), 'is corrupt'),
    (lambda file: np.save(file, np.full((30, 45), 'two')), 'holds <U3 and no metres'),
    (lambda file: np.save(file, np.full((30, 45), 2 + 1j)), 'holds complex128 and no metres'),
    (lambda file: np.save(file, np.ones((30, 45), bool)), 'holds bool and no metres'),
    (lambda file: np.save(file, np.zeros((30, 45), [('z', 'f4')])), 'and no metres: write it as'),
    (lambda file: np.save(file, np.ones((30, 45, 1))), r'depth of 00001 is \(30, 45, 1\)'),
    (lambda file: np.save(file, np.ones(())), r'depth of 00001 is \(\)'),
])
def test_what_is_no_depth_costs_its_picture_in_one_line(
    tmp_path: Path, write: Callable[[Path], None], why: str
) -> None:
    folder = folder_of(tmp_path, 2)
    write(folder / 'depth/00001.npy')
    samples = open_samples([folder])
    assert samples[0].image_rgb.shape == (30, 45, 3)
    with pytest.raises(DatasetError, match=why) as error:
        samples[1]
    assert str(error.value).isprintable()


@pytest.mark.parametrize('kind', ['depth', 'mask'])
@pytest.mark.parametrize('data', [b'', b'junk', bomb(200_000)], ids=['empty', 'junk', 'bomb'])
def test_a_broken_png_of_depth_or_mask_costs_its_picture(
    tmp_path: Path, kind: str, data: bytes
) -> None:
    folder = folder_of(tmp_path, 2)
    (folder / 'mask').mkdir()
    (folder / kind / '00001.png').write_bytes(data)
    with pytest.raises(DatasetError, match=r'missing or corrupt|mask/00001.png is corrupt'):
        open_samples([folder])[1]


def test_a_folder_of_nothing_is_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    for with_depth in (True, False):
        with pytest.raises(DatasetError, match='empty holds no pictures, shards, bag or rendered '):
            open_samples([tmp_path / 'empty'], with_depth)


@pytest.mark.parametrize('spoil', [
    lambda f: f.write_bytes(f.read_bytes()[:300]), lambda f: f.write_bytes(b''),
    lambda f: f.unlink(),
    lambda f: np.savez(f.open('wb'), a=np.ones(3)), lambda f: np.save(f, np.zeros((1, 3, 3), 'u1')),
    lambda f: np.save(f, np.zeros((2, 28, 28), np.float64)),
])
def test_a_world_that_is_broken_is_one_line(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    render_world(tmp_path, 2, 0, 28, 28)
    spoil(tmp_path / 'semantic.npy')
    with pytest.raises(DatasetError, match=': render it again$'):
        open_samples([tmp_path])
