# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Readers against tiny data sets in the publishers' own layouts."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.datasets import DATASETS, load_samples
import miniature_datasets as miniature

# Exact in 1/256 m and in mm; NaN has no truth.
DEPTHS = [
    np.array([[1.0, 2.5, np.nan, 4.0], [8.0, np.nan, 3.25, 60.0], [1.5, 2.0, 9.5, 5.0]]),
    np.array([[7.0, 2.0, 1.0, 4.5], [np.nan, 5.0, 6.0, 3.0], [1.0, 2.25, 3.0, 4.0]]),
]


@pytest.mark.parametrize('name', miniature.WRITERS)
def test_reads_the_official_layout(name, tmp_path):
    names = miniature.WRITERS[name](tmp_path, DEPTHS)
    samples = load_samples(name, tmp_path)
    assert [sample.name.removeprefix('indoors/') for sample in samples] == names
    for sample, depth_m in zip(samples, DEPTHS):
        read = sample.depth_m()
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, depth_m, rtol=1e-6)
        image = sample.image()
        assert image.shape == (3, 4, 3) and image.dtype == np.uint8
        np.testing.assert_allclose(image[0, 0], [10, 20, 30], atol=4)  # RGB, JPEG is not exact


def test_every_dataset_of_the_paper_has_a_miniature():
    assert set(miniature.WRITERS) == set(DATASETS)


def test_root_may_be_one_folder_down(tmp_path):
    miniature.kitti(tmp_path / 'raw', DEPTHS)
    (tmp_path / 'data_depth_annotated').mkdir()
    (tmp_path / 'raw' / 'val').rename(tmp_path / 'data_depth_annotated' / 'val')
    samples = load_samples('kitti', tmp_path)
    assert len(samples) == 2 and samples[0].image().shape == (3, 4, 3)


def write_nyu_mat(folder):
    """Write three images and depths as the labelled .mat holds them, transposed."""
    h5py = pytest.importorskip('h5py', reason='the .mat file of NYU Depth v2 is HDF5')
    images = np.random.default_rng(0).integers(0, 255, (3, 3, 640, 480), dtype=np.uint8)
    depths = np.arange(3 * 640 * 480, dtype=np.float32).reshape(3, 640, 480)
    with h5py.File(folder / 'nyu_depth_v2_labeled.mat', 'w') as file:
        file['images'], file['rawDepths'] = images, depths
    return images, depths


@pytest.fixture
def loadmat_of_json(monkeypatch):
    """Stand in for scipy, of which a few bytes of splits.mat are all that is needed."""
    module = SimpleNamespace(loadmat=lambda path: {
        name: np.array(values) for name, values in json.loads(path.read_text()).items()})
    monkeypatch.setitem(sys.modules, 'scipy.io', module)


def check_nyu_mat(folder, images, depths):
    first, last = load_samples('nyu', folder)
    assert (first.name, last.name) == ('0001', '0003')
    assert np.isnan(first.depth_m()[0, 0])  # 0 is no depth
    assert last.depth_m()[7, 5] == depths[2, 5, 7]
    assert last.image()[7, 5].tolist() == images[2, :, 5, 7].tolist()


def test_nyu_reads_the_labelled_file(tmp_path, loadmat_of_json):
    written = write_nyu_mat(tmp_path)
    (tmp_path / 'splits.mat').write_text('{"testNdxs": [[1], [3]]}')
    check_nyu_mat(tmp_path, *written)


def test_nyu_reads_a_split_in_matlabs_format(tmp_path):
    scipy_io = pytest.importorskip('scipy.io', reason='splits.mat of NYU Depth v2 is MATLAB 5')
    written = write_nyu_mat(tmp_path)
    scipy_io.savemat(tmp_path / 'splits.mat', {'testNdxs': [[1], [3]]})
    check_nyu_mat(tmp_path, *written)


def test_broken_nyu_files_are_one_clear_line(tmp_path, loadmat_of_json):
    h5py = pytest.importorskip('h5py', reason='the .mat file of NYU Depth v2 is HDF5')
    write_nyu_mat(tmp_path)
    labeled, splits = tmp_path / 'nyu_depth_v2_labeled.mat', tmp_path / 'splits.mat'
    whole = labeled.read_bytes()

    def complaint(read):
        with pytest.raises(DatasetError) as error:
            read(load_samples('nyu', tmp_path)[0])
        message = str(error.value)
        assert '\n' not in message and message.endswith(': put a good copy in its place')
        return message

    for text, cause in (('no split', 'JSONDecodeError'), ('{}', "KeyError: 'testNdxs'"),
                        ('{"testNdxs": ["one"]}', 'ValueError')):
        splits.write_text(text)
        assert f'{splits} is missing or broken ({cause}' in complaint(lambda sample: None)
    splits.write_text('{"testNdxs": [4]}')
    for read in (lambda sample: sample.image(), lambda sample: sample.depth_m()):
        assert f'{labeled} is missing or broken (IndexError' in complaint(read)
    for content in (b'', b'no HDF5', whole[:100_000]):
        labeled.unlink()  # HDF5 still holds the file that was good
        labeled.write_bytes(content)
        assert f'{labeled} is missing or broken (OSError' in complaint(lambda sample: None)
    with h5py.File(labeled, 'w') as file:
        file['images'] = [1]
    assert f'{labeled} is missing or broken (KeyError' in complaint(lambda sample: None)


def test_nyu_says_what_the_labelled_file_needs(tmp_path, monkeypatch):
    (tmp_path / 'nyu_depth_v2_labeled.mat').touch()
    with pytest.raises(DatasetError, match='splits.mat is missing'):
        load_samples('nyu', tmp_path)
    (tmp_path / 'splits.mat').touch()
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(DatasetError, match='pip install h5py'):
        load_samples('nyu', tmp_path)


def test_split_chooses_and_orders_and_leaves_out_what_has_no_truth(tmp_path):
    names = miniature.kitti(tmp_path, DEPTHS)
    split = tmp_path / 'eigen.txt'
    split.write_text(
        f'{names[1]}.png truth.png 721.5\n'
        f'{miniature.KITTI_DRIVE}/image_02/data/0000000099.png None 721.5\n\n'
        f'/{names[0]}.png truth.png 721.5\n'
    )
    assert [s.name for s in load_samples('kitti', tmp_path, split)] == [names[1], names[0]]
    split.write_text('nothing.png\n')
    with pytest.raises(DatasetError, match='none of the 1 lines'):
        load_samples('kitti', tmp_path, split)
    with pytest.raises(DatasetError, match='is missing'):
        load_samples('kitti', tmp_path, tmp_path / 'absent.txt')


@pytest.mark.parametrize('name', DATASETS)
@pytest.mark.parametrize('folder', ['', 'absent'])
def test_missing_data_names_layout_and_source_in_one_line(name, folder, tmp_path):
    with pytest.raises(DatasetError) as error:
        load_samples(name, tmp_path / folder)
    message = str(error.value)
    assert '\n' not in message
    assert DATASETS[name].layout in message and 'http' in message


def test_ddad_keeps_the_nearest_point_of_a_pixel(tmp_path):
    miniature.ddad(tmp_path, DEPTHS[:1])
    path = next(tmp_path.rglob('*.npz'))
    data = np.load(path)['data']
    T = np.array([0.5, 0, 1.0])  # lidar to camera, both aligned with the world
    far = data[0].copy()
    far[:3] = (far[:3] + T) * 3 - T  # on the camera's ray of the first point, 3 times as far
    np.savez(path, data=np.vstack([far, data, far]))
    depth = load_samples('ddad', tmp_path)[0].depth_m()
    np.testing.assert_allclose(depth, DEPTHS[0], rtol=1e-6)


def npz(**arrays):
    """Return the bytes of a .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array):
    """Return the bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ('name', 'pattern', 'content', 'complaint'),
    [
        ('kitti', '*/proj_depth/**/*.png', b'no picture', '16-bit'),
        ('sintel', '*.dpt', b'PIEH\0\0\0\0', 'no .dpt'),
        ('sintel', '*.dpt', b'', 'no .dpt'),
        ('eth3d', 'ground_truth_depth/**/*.JPG', b'\0' * 8, 'holds 2 float32'),
        ('diode', '*_depth.npy', b'', 'missing or broken'),
        ('diode', '*_depth.npy', npy(np.ones((9, 4, 1))), 'npy is missing or broken .ValueError'),
        ('ddad', '*.npz', b'PK broken', 'npz is missing or broken .ValueError'),
        ('ddad', '*.npz', npz(data=np.full((9, 4), 7.5)).replace(b'\x1e@', b'\x1f@'), 'Bad CRC-32'),
        ('ddad', '*.npz', npz(points=np.ones((9, 4))), 'npz is missing or broken .KeyError'),
        ('ddad', '*.npz', npz(data=np.ones(9)), 'npz is missing or broken .IndexError'),
        ('ddad', 'ddad.json', b'{"scene_spl', 'ddad.json is missing or broken .JSONDecodeError'),
        ('ddad', 'ddad.json', b'{"scene_splits": {}}', "ddad.json is .* .KeyError: '1'"),
        ('ddad', 'scene_def.json', b'[]', 'scene_def.json is missing or broken .TypeError'),
        ('ddad', 'abc.json', b'\xff\xfe', 'abc.json is missing or broken .UnicodeDecodeError'),
        ('ddad', 'abc.json', b'{"names": [], "intrinsics": []}', 'abc.json is .* .ValueError'),
    ],
)
def test_broken_depth_is_one_clear_line(name, pattern, content, complaint, tmp_path):
    miniature.WRITERS[name](tmp_path, DEPTHS[:1])
    next(tmp_path.rglob(pattern)).write_bytes(content)
    with pytest.raises(DatasetError, match=complaint) as error:
        load_samples(name, tmp_path)[0].depth_m()
    assert str(tmp_path) in str(error.value) and '\n' not in str(error.value)


def test_missing_image_is_one_clear_line(tmp_path):
    miniature.diode(tmp_path, DEPTHS[:1])
    next(tmp_path.rglob('*.png')).unlink()
    with pytest.raises(DatasetError, match='missing or no image'):
        load_samples('diode', tmp_path)[0].image()
