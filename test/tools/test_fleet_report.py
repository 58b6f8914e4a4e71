# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""fleet_report on what annotate wrote of two bags, whose lidar works loose in one."""

import base64
from pathlib import Path
import re

import cv2
import numpy as np
import pytest
from recorded_drive import drive, PERIOD_NS, picture_at, START_NS, write_bag

from depth_anything_ros.evaluation.quality import (
    draw_frame,
    from_start_to_end,
    PANEL_PX,
    Quality,
    read_quality,
)
from depth_anything_ros.evaluation.quality_page import quality_page
from depth_anything_ros.tools import annotate, fleet_report
from helpers import RowPredictor

TOPIC, FRAMES = '/front/image_raw', 12


def load(model, runtime):
    """Return the network of the tests."""
    return RowPredictor()


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    """Return what annotate makes of a bag, one without lidar after .6 s, and a corrupt one."""
    folder = tmp_path_factory.mktemp('fleet')
    (folder / 'in').mkdir()
    messages = drive(FRAMES)
    write_bag(folder / 'in' / 'good', messages)
    write_bag(folder / 'in' / 'silent', [
        m for m in messages if m[0] != '/lidar/points' or m[1] < START_NS + 6 * PERIOD_NS
    ])
    (folder / 'in' / 'zero.mcap').write_bytes(b'nothing')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotate, 'load_predictor', load)
        arguments = [str(folder / 'in'), str(folder / 'out'), '-p', 'scale.max_hold:=0.35']
        assert annotate.main(arguments) == 1  # for the corrupt one
    return folder / 'out'


def test_annotate_leaves_a_summary_and_a_restart_does_what_is_left(out, capsys, monkeypatch):
    monkeypatch.setattr(annotate, 'load_predictor', load)
    assert (out / 'summary.parquet').exists() or (out / 'summary.csv').exists()
    names = {path.name for path in out.iterdir()} - {'summary.parquet', 'summary.csv'}
    assert names == {'good', 'silent', 'good.report.json', 'silent.report.json',
                     'zero.report.json'}
    assert annotate.main([str(out.with_name('in')), str(out)]) == 1
    said = capsys.readouterr().err
    assert said.count('is done already') == 2 and 'zero.mcap can be read' in said


def test_states_and_sigmas_are_those_of_the_frames(out):
    good, silent = (read_quality(out / name, TOPIC) for name in ('good', 'silent'))
    assert good.states == ['FITTED'] * FRAMES
    # The last sweep is of .53 s: .1 s and its period of .1 s reach the image of .7 s, and its line
    # is held for .35 s.
    assert silent.states == ['FITTED'] * 8 + ['HELD'] * 3 + ['UNANCHORED']
    assert np.isnan(silent.sigma[-1]) and (good.sigma < 0.5).all()
    assert list(good.time_ns - good.time_ns[0]) == [i * PERIOD_NS for i in range(FRAMES)]


def test_the_page_shows_every_bag_and_its_least_sure_frames(out, tmp_path, capsys):
    path = tmp_path / 'page.html'
    assert fleet_report.main([str(out), '--html', str(path), '--pictures', '1']) == 1
    said = capsys.readouterr().out
    assert 'zero.mcap can be read' in said and 'silent' in said and '100%' in said
    page = path.read_text()
    assert page.count('<svg') == 2 and page.count('<polyline') >= 4
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 2 and not re.search(r'(src|href)="(?!data:)', page)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (round(PANEL_PX * 112 / 140), 3 * PANEL_PX, 3)
    assert 'UNANCHORED, sigma unknown' in page and 'zero.mcap can be read' in page
    assert fleet_report.main([str(out / 'good')]) == 0  # one bag alone


def test_a_picture_shows_image_depth_and_sigma(out):
    good = read_quality(out / 'good', TOPIC)
    picture = draw_frame(good, 3)
    image, depth, sigma = np.split(picture, 3, axis=1)
    taken = picture_at(START_NS + 3 * PERIOD_NS)[..., ::-1]
    expected = cv2.resize(taken, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(image, expected)
    assert depth[-5, 130, 2] > depth[-5, 130, 0]  # near is red
    assert not (sigma[-5:] == 110).all()


def test_depth_that_was_written_as_png_is_shown_too(out, tmp_path, monkeypatch):
    monkeypatch.setattr(annotate, 'load_predictor', load)
    bag = str(out.with_name('in') / 'good')
    assert annotate.main([bag, str(tmp_path / 'good'), '--outputs',
                          'image/compressedDepth,stddev']) == 0
    raw, png = (draw_frame(read_quality(at / 'good', TOPIC), 3) for at in (out, tmp_path))
    apart = np.abs(raw.astype(int) - png)
    assert np.percentile(apart, 99) <= 2 and not (png[:, PANEL_PX:] == 128).all()  # millimetres


def test_least_sure_frames_are_a_second_apart_and_those_without_metres_come_first():
    sigma = np.array([0.1, 0.9, 0.8, 0.2, np.nan, 0.5])
    times_ns = np.array([0, 10, 15, 25, 40, 55]) * 10**8
    nothing = np.full(6, np.nan)
    quality = Quality(None, TOPIC, times_ns, ['HELD'] * 6, sigma, nothing, nothing)
    assert quality.least_sure(3) == [4, 1, 5]  # 2 is .5 s after 1
    assert quality.least_sure(9) == [4, 1, 5, 3, 0]
    assert quality.share('HELD') == 1.0 and quality.share('FITTED') == 0.0


def test_a_drift_is_what_the_last_fifth_says_against_the_first():
    series = np.array([np.nan, 1, 3, 9, 9, 9, 9, 9, 9, 9, 9, 9, 7, 5, 5])
    assert from_start_to_end(series) == (2.0, 5.0)
    assert np.isnan(from_start_to_end(np.full(4, np.nan))).all()
    assert 'unknown' in quality_page([_flat(np.full(4, np.nan))], [], 0)


def _flat(series):
    """Return what says the same of all."""
    times_ns = np.arange(len(series)) * 10**8
    states = ['UNANCHORED'] * len(series)
    return Quality(Path('bag'), TOPIC, times_ns, states, series, series, series)


@pytest.mark.parametrize('arguments, says', [
    (['nowhere'], 'holds no report of annotate'),
    (['nowhere', '--pictures', '-1'], 'less than none'),
])
def test_mistakes_are_one_line(tmp_path, arguments, says, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fleet_report.main(arguments) == 2
    said = capsys.readouterr().err
    assert says in said and said.count('\n') == 1
