# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reports that are written, read, added up and put in a table."""

from collections import Counter
import csv

import pytest
from rich.console import Console

from depth_anything_ros.annotation import summary
from depth_anything_ros.annotation.unit_report import (
    CameraReport,
    Failure,
    read_report,
    report_path,
    Unit,
    UnitReport,
)
from depth_anything_ros.errors import DatasetError


def camera_report():
    """Return one of 5 frames, one of them without metres."""
    camera = CameraReport(
        5, Counter(FITTED=3, HELD=1, UNANCHORED=1), failed=Counter(undecodable_message=2),
        incomplete=Counter(no_transform=1),
    )
    for sigma in (0.0311, 0.03114, 0.2, 0.5):
        camera.add_sigma(sigma)
    return camera


@pytest.fixture
def out(tmp_path):
    """Return a folder with the reports on two bags, one of which is corrupt."""
    out = tmp_path / 'out'
    unit = Unit('/bags/one', 1, 2, 20.0)
    failure = Failure('/left/image', 5, None, 'undecodable_message', 'Image is cut')
    UnitReport(
        unit, str(out / 'day' / 'one'),
        {'/left/image': camera_report(), '/right/image': CameraReport(2, Counter(HELD=2))},
        [failure], Counter(bad_points=4), ['a note'], True,
    ).write()
    UnitReport(Unit('/bags/two'), str(out / 'two'), error='two [is] corrupt').write()
    (out / 'two.unfinished').mkdir()
    (out / 'two.unfinished' / 'x.report.json').write_text('of an attempt')
    return out


def test_a_report_is_read_as_it_was_written(out):
    one, two = summary.find_reports(out)
    assert read_report(report_path(out / 'day' / 'one')) == one
    assert one.cameras['/left/image'] == camera_report() and one.unit.before_s == 20.0
    assert one.failures[0].stamp_ns is None and one.refused == {'bad_points': 4}
    assert two.lines() == ['two [is] corrupt']


@pytest.mark.parametrize('text', ['', '[]', '{"cameras": 3}', '{"cameras": {}, "x": 1}', '\0'])
def test_what_is_no_report_is_one_line(tmp_path, text):
    (tmp_path / 'x.report.json').write_text(text)
    with pytest.raises(DatasetError, match='x.report.json is no report of annotate') as raised:
        list(summary.find_reports(tmp_path))
    assert '\n' not in str(raised.value)


def test_the_median_sigma_is_of_frames_and_parts_add_up():
    camera = camera_report()
    assert camera.sigma_median == pytest.approx((0.0311 + 0.2) / 2)
    camera.add(camera_report())
    camera.add(CameraReport(1, Counter(FITTED=1), Counter({0.2: 1})))
    assert (camera.frames, camera.states['FITTED'], camera.failed.total()) == (11, 7, 4)
    assert camera.sigma_median == 0.2  # .0311 four times, .2 three times, .5 twice
    assert CameraReport().sigma_median is None


def test_a_line_for_each_camera_and_each_bag_without(out):
    left, right, two = summary.rows(list(summary.find_reports(out)))
    assert list(left) == list(right) == list(two)
    said = ('frames', 'FITTED', 'HELD', 'UNANCHORED', 'METRIC', 'failed',
            'failed_undecodable_message', 'incomplete_no_transform')
    assert [left[name] for name in said] == [5, 3, 1, 1, 0, 2, 2, 1]
    assert [right[name] for name in said] == [2, 0, 2, 0, 0, 0, 0, 0]
    assert [two[name] for name in said] == [0] * 8
    assert left['sigma_median'] == pytest.approx(0.11555) and two['sigma_median'] is None
    assert (two['bag'], two['camera'], two['finished'], two['error']) == (
        '/bags/two', '', False, 'two [is] corrupt'
    )


def test_the_table_shows_shares(out):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(summary.summary_table(summary.rows(list(summary.find_reports(out)))))
    left, right, two = capture.get().splitlines()[3:6]
    assert left.replace('│', '').split() == [
        'one', '/left/image', '5', '20%', '20%', '60%', '11.6%', '2'
    ]
    assert right.replace('│', '').split() == ['one', '/right/image', '2', '0%', '100%', '0%']
    assert 'two [is] corrupt' in two


def test_parquet_where_there_is_pyarrow(out):
    parquet = pytest.importorskip('pyarrow.parquet')
    rows = summary.rows(list(summary.find_reports(out)))
    path = summary.write_summary(rows, out)
    assert path == out / 'summary.parquet' and parquet.read_table(path).to_pylist() == rows


def test_csv_where_there_is_none(out, monkeypatch):
    monkeypatch.setattr(summary, 'find_spec', lambda name: None)
    rows = summary.rows(list(summary.find_reports(out)))
    path = summary.write_summary(rows, out)
    with path.open() as file:
        left, _, two = csv.DictReader(file)
    assert path == out / 'summary.csv' and (left['FITTED'], left['frames']) == ('3', '5')
    assert float(left['sigma_median']) == pytest.approx(0.11555) and two['sigma_median'] == ''
    (out / 'summary.csv').unlink()
    (out / 'summary.csv').mkdir()
    with pytest.raises(DatasetError, match='cannot be written'):
        summary.write_summary(rows, out)
