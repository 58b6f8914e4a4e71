# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DA-2K: pairs in order counted by hand, through the program and without it."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.pairs import load_pairs, score_pairs
from depth_anything_ros.tools.evaluate import main
import miniature_datasets as miniature

# Rows and columns as the miniature's pairs have them. a: (0, 5) 9 > (2, 0) 1 is in order, (1, 1) 2
# > (1, 4) 3 is not, (2, 2) and (2, 3) are alike, which is none. b: (2, 5) 8 > (0, 0) 0 and (1, 5) 7
# > (1, 0) 6, both in order.
A = np.array([[5, 5, 5, 5, 5, 9], [5, 2, 5, 5, 3, 5], [1, 5, 4, 4, 5, 5.0]])
B = np.array([[0, 5, 5, 5, 5, 5], [6, 5, 5, 5, 5, 7], [5, 5, 5, 5, 5, 8.0]])


@pytest.fixture
def da2k(tmp_path):
    miniature.da2k(tmp_path / 'data')
    (tmp_path / 'saved').mkdir()
    np.save(tmp_path / 'saved/a.npy', A)
    np.save(tmp_path / 'saved/b.npy', B)
    return tmp_path


def run(tmp_path, *more):
    return main([
        '--dataset', 'da2k', '--root', str(tmp_path / 'data'), '--output', str(tmp_path / 'out'),
        '--predictions', str(tmp_path / 'saved'), '--json', *more,
    ])


def test_pairs_in_order_are_counted(da2k, capsys):
    assert run(da2k) == 0
    out = capsys.readouterr().out
    result = json.loads(out.splitlines()[-1])
    assert (result['images'], result['pairs']) == (2, 5)
    assert result['accuracy'] == pytest.approx(3 / 5)
    assert result['scenes'] == pytest.approx({'indoor': 1 / 3, 'outdoor': 1})
    # mean of scenes (1/3 + 1) / 2; the paper's V2 S
    assert '0.600' in out and '0.667' in out and '0.953' in out
    with (da2k / 'out/da2k.csv').open() as file:
        assert list(csv.reader(file)) == [
            ['image', 'scene', 'pairs', 'right'], ['images/indoor/a', 'indoor', '3', '1'],
            ['images/outdoor/b', 'outdoor', '2', '2']]


def test_depth_is_nearer_where_it_is_smaller(da2k, capsys):
    assert run(da2k, '--prediction', 'depth') == 0
    # of a the other pair that is not alike, of b none
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['accuracy'] == pytest.approx(1 / 5)


def test_order_asks_neither_for_scale_nor_for_sign(da2k):
    for picture, prediction in zip(load_pairs(da2k / 'data'), (A, B)):
        right = score_pairs(picture, prediction, 'inverse_depth').right
        assert score_pairs(picture, 1e-6 * prediction - 50, 'inverse_depth').right == right
        assert score_pairs(picture, np.full((3, 6), 4.0), 'inverse_depth').right == 0


def test_predictions_of_another_size_are_brought_to_the_image(da2k):
    np.save(da2k / 'saved/a.npy', np.repeat(np.repeat(A, 3, axis=0), 3, axis=1))
    assert run(da2k) == 0  # the middle of each 3x3 block is the pixel


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_predictions_must_be_finite_where_a_pair_is(da2k, capsys, bad):
    beside = A.copy()
    beside[0, 0] = bad  # no pair is there
    np.save(da2k / 'saved/a.npy', beside)
    assert run(da2k) == 0
    beside[1, 4] = bad
    np.save(da2k / 'saved/a.npy', beside)
    assert run(da2k) == 2
    assert 'indoor/a' in capsys.readouterr().err


@pytest.mark.parametrize('point', [[3, 0], [0, 6], [-1, 0]])
def test_a_pair_outside_of_its_image_is_named(da2k, point):
    path = da2k / 'data/DA-2K/annotations.json'
    pairs = json.loads(path.read_text())
    pairs['images/indoor/a.jpg'][1]['point2'] = point
    path.write_text(json.dumps(pairs))
    with pytest.raises(DatasetError, match='indoor/a: a pair lies outside its 3x6'):
        score_pairs(load_pairs(da2k / 'data')[0], A, 'inverse_depth')


@pytest.mark.parametrize('text', [
    'not json', '[]', '{"a.jpg": [{}]}', '{"a.jpg": []}', '{}', '{"a.jpg": null}',
    '{"a.jpg": [{"point1": [1, 2], "point2": [1], "closer_point": "point1"}]}',
    '{"a.jpg": [{"point1": [1, 2], "point2": [1, 0.5], "closer_point": "point1"}]}',
    '{"a.jpg": [{"point1": [1, 2], "point2": [1, 0], "closer_point": "point3"}]}',
])
def test_broken_annotations_are_one_line(da2k, capsys, text):
    (da2k / 'data/DA-2K/annotations.json').write_text(text)
    assert run(da2k) == 2
    error = capsys.readouterr().err
    assert 'annotation' in error and error.count('\n') == 1


@pytest.mark.parametrize(('more', 'complaint'), [
    (['--root', 'nowhere'], 'annotations.json'), (['--align', 'none'], '--align none means'),
    (['--region', 'garg'], '--region means'), (['--split', 'x'], '--split means'),
    (['--limit', '0'], '--limit'), (['--predictions', 'nowhere'], '2 of 2 predictions'),
])
def test_mistakes_are_one_line(da2k, capsys, more, complaint):
    assert run(da2k, *more) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count('\n') == 1
