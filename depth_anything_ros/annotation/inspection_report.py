# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An inspection as tables, as JSON, and as one HTML file with pictures."""

from __future__ import annotations

import base64
from dataclasses import asdict
from html import escape
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from depth_anything_ros.annotation.advice import CameraFacts, SourceFacts
from depth_anything_ros.annotation.inspection import Inspection
from depth_anything_ros.annotation.topic_facts import TopicFacts

_WIDE = 160  # characters of the tables in a file
_COLOURS = {'FITTED': 'green', 'METRIC': 'green', 'UNANCHORED': 'red'}


def print_inspection(console: Console, inspection: Inspection) -> None:
    """Print topics, cameras, and what would mend those that are not anchored."""
    _say(console, f'{inspection.bag}: {inspection.duration_s:.1f} s')
    if inspection.loss:
        _say(console, f'broken: {inspection.loss}', 'red')
    console.print(_topics(inspection))
    for camera in inspection.cameras:
        console.print(_camera(camera))
        for line in camera.advice:
            _say(console, f'  {line}')
        for line in camera.commands:
            _say(console, f'  {line}', 'cyan')
    for note in inspection.notes:
        _say(console, f'note: {note}')
    if not inspection.cameras:
        _say(console, 'there is no camera', 'red')


def as_json(inspection: Inspection) -> dict[str, Any]:
    """Return what JSON can say of it: all but the pictures."""
    content = asdict(inspection)
    for camera, facts in zip(content['cameras'], inspection.cameras):
        del camera['pictures']
        camera['ready'] = facts.ready
    return {**content, 'ready': inspection.ready}


def as_html(inspection: Inspection) -> str:
    """Return a page of its own, without a link to anything, pictures in it."""
    console = Console(record=True, width=_WIDE, file=StringIO(), force_terminal=False)
    print_inspection(console, inspection)
    page = console.export_html(inline_styles=True)
    pictures = ''.join(_pictures(camera) for camera in inspection.cameras)
    return page.replace('</body>', f'{pictures}</body>')


def _pictures(camera: CameraFacts) -> str:
    images = ''.join(
        f'<img style="margin:4px" alt="{escape(camera.topic)}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'
        for jpeg in camera.pictures
    )
    title = f'{camera.topic}: first, middle and last image, anchors from 1 m (red) to 80 m (blue)'
    return f'<h3 style="font-family:sans-serif">{escape(title)}</h3>{images}'


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _topics(inspection: Inspection) -> Table:
    table = Table(title='topics', title_justify='left')
    for column in ('topic', 'type', 'frame'):
        table.add_column(column, overflow='fold')
    for column in ('count', 'Hz', 'gaps', 'longest', 'delay, s', 'clock'):
        table.add_column(column, justify='right')
    for facts in inspection.topics:
        table.add_row(
            facts.topic,
            facts.kind.rpartition('/')[2],
            facts.frame_id,
            str(facts.messages) + (f' ({facts.refused} broken)' if facts.refused else ''),
            _number(facts.rate_hz, '.1f'),
            str(facts.gaps or ''),
            _number(facts.longest_gap_s, '.2f', ' s'),
            _number(facts.delay_s, '+.3f'),
            _clock(facts),
        )
    return table


def _clock(facts: TopicFacts) -> str:
    told = [f'{facts.back} back'] * (facts.back > 0) + [f'{facts.doubled} twice'] * (
        facts.doubled > 0
    )
    return ', '.join(told)


def _camera(camera: CameraFacts) -> Table:
    table = Table(title=f'camera {camera.topic}', title_justify='left', show_header=False)
    table.add_column(style='bold')
    table.add_column(overflow='fold')
    width, height = camera.size
    colour = _COLOURS[camera.state]
    rows = {
        'images': f'{camera.images}, {width}x{height} {camera.form}, frame "{camera.frame_id}"; '
                  f'{camera.looked_at} looked at',
        'calibration': camera.calibration,
        **{f'{name}': _source(source) for name, source in camera.sources.items()},
        **{f'TF to {topic}': chain for topic, chain in camera.chains.items()},
    }
    for name, told in rows.items():
        table.add_row(name, _plain(told))
    table.add_row('expected', f'[{colour}]{camera.state}[/{colour}]: {_plain(camera.why)}')
    return table


def _plain(text: str) -> str:
    return text.replace('[', r'\[')


def _source(source: SourceFacts) -> str:
    told = [f'{source.share:.0%} of the images']
    if source.coverage is not None and source.share:
        told.append(
            f'{source.anchors:.0f} anchors, near {source.coverage.columns:.0%} of the columns, '
            f'{source.coverage.rows:.0%} of the rows, {source.coverage.pixels:.0%} of the pixels'
        )
    if source.offset_s is not None and source.largest_offset_s is not None:
        told.append(
            f'sweep at {source.offset_s:+.3f} s of the image ({source.largest_offset_s:+.3f} s at '
            'most)'
        )
    return '; '.join([*told, *source.reasons])


def _number(value: float | None, form: str, unit: str = '') -> str:
    return '' if value is None else format(value, form) + unit
