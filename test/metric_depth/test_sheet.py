# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the device is told of anchors: by hand for a few, with distances by brute force."""

import numpy as np
import pytest
import torch

from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.membrane import Grid
from depth_anything_ros.metric_depth.sheet import (
    _distance_px,
    ALL,
    BELOW,
    FOLDS,
    membrane_sums,
    write_sheet,
)
from depth_anything_ros.transfer import upload_together

HEIGHT, WIDTH = 96, 128
FINE = Grid.over(HEIGHT, WIDTH, HEIGHT * WIDTH // 16)
COARSE = FINE.coarser()
CPU = torch.device('cpu')


def sheet_of(u, v, z_m, fold, planar=False, believed=None, prior=None):
    """Write the sheet of anchors with a perfect line unless said otherwise."""
    u, v, z_m = (np.array(x, dtype=np.float32) for x in (u, v, z_m))
    anchors = Anchors(u, v, z_m, np.array(fold))
    believed = np.ones(len(u)) if believed is None else np.array(believed)
    prior = 1 / z_m.astype(float) if prior is None else np.array(prior)
    bounds = (0.5 / z_m.max(), 2 / z_m.min())
    reach = 0.0 if planar else 0.5
    return write_sheet(
        anchors,
        z_m.astype(float),
        believed,
        prior,
        np.array(fold),
        planar,
        reach,
        bounds,
        FINE,
        HEIGHT,
        CPU,
    )


def random_anchors(count=300):
    """Return columns, rows, depths and folds in the middle of the image."""
    random = np.random.default_rng(3)
    u, v = random.uniform(20, 110, count), random.uniform(30, 70, count)
    return u, v, random.uniform(2, 20, count), random.integers(0, FOLDS, count)


def test_arrays_go_up_together_and_come_out_as_they_were():
    arrays = [np.arange(6).reshape(2, 3), np.array([True, False]), np.full((1, 2, 2), 0.5)]
    tensors = upload_together(arrays, CPU)
    for array, tensor in zip(arrays, tensors):
        assert tensor.dtype == torch.float32
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_some_anchors_are_told_twice_and_count_once():
    u, v, z_m, fold = random_anchors()
    believed = np.linspace(0.1, 1, 300)
    sheet = sheet_of(u, v, z_m, fold, believed=believed)
    assert sheet.depth_m.shape == (1024,)
    np.testing.assert_allclose(sheet.given.sum(dim=1), 300)
    np.testing.assert_allclose(sheet.data[0].sum(), believed.sum(), rtol=1e-5)
    np.testing.assert_allclose(sheet.weight[0].sum(), believed.mean(), rtol=1e-5)
    np.testing.assert_allclose(sheet.weight[1].sum(), 1.0, rtol=1e-5)
    assert set(sheet.depth_m.tolist()) == set(z_m.astype(np.float32).tolist())


def test_membranes_leave_out_a_fold_each_and_the_upper_anchors():
    # One anchor a fold, of weights 1, 2, 4 and 8; the topmost, of fold 2, is the upper quarter.
    sheet = sheet_of([10, 40, 70, 100], [60, 50, 20, 70], [4.0] * 4, [0, 1, 2, 3],
                     believed=[1.0, 2.0, 4.0, 8.0])
    sums = membrane_sums(COARSE.splat(sheet.cells[0], sheet.data, 2 * FOLDS))
    assert sums[0].sum(dim=(1, 2)).tolist() == [14.0, 13.0, 11.0, 7.0, 11.0, 15.0]
    # Inverse depth of 1/4 in each space.
    means = sums[1:, ALL].sum(dim=(1, 2)) / 15
    np.testing.assert_allclose(means, [0.25, np.log(0.25)] * 2, rtol=1e-5)
    assert float(sums[0, BELOW, 20 // 8, 70 // 8]) == 0.0
    assert float(sums[0, ALL, 20 // 8, 70 // 8]) == 4.0


@pytest.mark.parametrize('planar', [False, True])
def test_distances_are_those_to_other_folds_and_the_correction_ends_with_the_anchors(planar):
    u, v, z_m, fold = random_anchors()
    sheet = sheet_of(u, v, z_m, fold, planar)
    found_px = sheet.log_growth.exp().square()[:300].numpy() - 0.5 * COARSE.cell_px
    apart = np.hypot(u[:, None] - u, v[:, None] - v)
    expected_px = np.where(fold[:, None] != fold, apart, np.inf).min(axis=1)
    assert np.abs(found_px - expected_px).max() < 1.5 * COARSE.cell_px  # cells are that wide
    assert (sheet.inside.sum(dim=0) + sheet.above).max() <= 1 + 1e-6
    row, column = (30 + 40) // 2 // 4 + 2, 64 // 4
    assert float(sheet.inside[1, row, column]) == pytest.approx(1.0, abs=1e-3)
    assert float(sheet.near[row, column]) == 1.0
    assert float(sheet.near[0, 0]) == 0.0
    if planar:
        assert float(sheet.above.max()) == 0.0
        assert float(sheet.inside[1, 0, column]) < 0.2
    else:
        assert float(sheet.above[0, column]) == 1.0
        assert sheet.regions[:, 0, column // 2].tolist() == [0.0, 0.0, 1.0]
        assert sheet.regions[:, -1, column // 2].tolist() == [0.0, 1.0, 0.0]


def test_distances_do_not_depend_on_where_in_memory_they_are():
    occupied = np.random.default_rng(5).random((FINE.rows, FINE.columns)) < 0.02
    row, column = np.indices(occupied.shape)
    at_row, at_column = np.nonzero(occupied)
    squares = (row[..., None] - at_row) ** 2 + (column[..., None] - at_column) ** 2
    expected = np.sqrt(squares.min(axis=-1), dtype=np.float32) * np.float32(FINE.cell_px)
    held = []  # blocks of many sizes, so that those after them begin at other places
    for size in range(512, 1512, 8):
        held.append(bytearray(size))
        np.testing.assert_array_equal(_distance_px(occupied, FINE), expected)
