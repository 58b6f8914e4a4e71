# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Lists of pictures, and pictures in a folder that holds nothing else."""

from __future__ import annotations

import os
from pathlib import Path
import pickle

import cv2
import numpy as np
import pytest

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.picture_list import PictureList


def gray(file: Path, value: int) -> None:
    cv2.imwrite(str(file), np.full((3, 4, 3), value, np.uint8))


def test_every_line_is_found_wherever_reading_begins(tmp_path: Path) -> None:
    names = [f'{"x" * (i % 7)}/{i}.jpg' for i in range(5000)]
    names[4999] = '/there/ä b.jpg'
    for ending in ('', '\n', '\r\n'):
        file = tmp_path / 'list.txt'
        file.write_bytes((ending or '\n').join(names).encode() + ending.encode())
        pictures = PictureList(file)
        assert len(pictures) == 5000
        order = [0, 4999, 1023, 1024, 2047, 2048, 3071, *range(4000, 4200)]
        for i in order:
            assert pictures.path(i) == (
                Path('/there/ä b.jpg') if i == 4999 else tmp_path / names[i])
        assert pickle.loads(pickle.dumps(pictures)).path(1025) == tmp_path / names[1025]


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b'caf\xe9.png')
    gray(tmp_path / 'a.png', 7)
    (tmp_path / 'a.png').rename(tmp_path / name)
    (tmp_path / 'list').write_bytes(b'caf\xe9.png\n')
    assert (open_samples([tmp_path / 'list'], with_depth=False)[0].image_rgb == 7).all()


@pytest.mark.parametrize('data, words', [
    (b'', 'names no pictures'), (b'a.png\n\nb.png\n', 'line 2 of .* is no path'),
    (b'a.png\n\x89PNG\0\0', 'line 2 of .* is no path'), (b'a' * 5000, 'line 1 of .* is no path')])
def test_what_is_no_list(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / 'list').write_bytes(data)
    with pytest.raises(DatasetError, match=words):
        PictureList(tmp_path / 'list')


def test_a_line_costs_its_own_picture(tmp_path: Path) -> None:
    gray(tmp_path / 'a.png', 7)
    (tmp_path / 'list').write_text(f'a.png\nnone.png\n{"n" * 4000}\n.\n')
    samples = open_samples([tmp_path / 'list'], with_depth=False)
    assert samples[0].image_rgb.shape == (3, 4, 3)
    for i, why in ((1, 'No such file'), (2, 'File name too long'), (3, 'it is no regular file')):
        with pytest.raises(DatasetError, match=rf'cannot be read \({why}'):
            samples[i]
    with pytest.raises(DatasetError, match='lists pictures without depth'):
        open_samples([tmp_path / 'list'])


def test_a_list_that_is_cut_while_it_is_read_is_named(tmp_path: Path) -> None:
    (tmp_path / 'list').write_text('a.png\n' * 3000)
    pictures = PictureList(tmp_path / 'list')
    (tmp_path / 'list').write_text('a.png\n')
    with pytest.raises(DatasetError, match='list changed while it was read: start again'):
        pictures.path(2500)
    (tmp_path / 'list').unlink()
    with pytest.raises(DatasetError, match='list cannot be read: No such file or directory'):
        pictures.path(3)


def test_a_folder_of_pictures_alone(tmp_path: Path) -> None:
    gray(tmp_path / 'b.png', 9)
    gray(tmp_path / 'a.png', 7)
    samples = open_samples([tmp_path], with_depth=False)
    assert [int(sample.image_rgb.max()) for sample in samples] == [7, 9]
    with pytest.raises(DatasetError, match='holds pictures and not their depth: put them in'):
        open_samples([tmp_path])
    with pytest.raises(DatasetError, match='nowhere is absent: see where it is'):
        open_samples([tmp_path / 'nowhere'])
