# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation: links that lead somewhere, pages that can be found, what is made of code.

`make docs` builds the site itself and is as strict; this needs no MkDocs.
"""

from __future__ import annotations

import json
from pathlib import Path
import re

import pytest
import yaml

from build_site import inside_links, launch_arguments, parameters_page, plain, readme_pages
from depth_anything_ros.config import parameters

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
MADE = {*readme_pages(), 'parameters.md', 'launch.md', 'changes.md', 'contributing.md'}


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags name Python objects."""


def anchors(path):
    """Return the anchors that GitHub gives the headings of a Markdown file."""
    text = re.sub(r'^```.*?^```', '', path.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = []
    for heading in re.findall(r'^#+ (.*)$', text, re.MULTILINE):
        slug = re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        found.append(slug + (f'-{found.count(slug)}' if slug in found else ''))
    return set(found)


def links(path):
    """Return the relative links of a Markdown file: file and anchor."""
    targets = re.findall(r'\]\(([^)\s]+)\)', path.read_text())
    return [x.partition('#')[::2] for x in targets if '://' not in x]


def nav(entries):
    """Return the files of a navigation, in order."""
    found = []
    for entry in entries:
        (value,) = entry.values()
        found += nav(value) if isinstance(value, list) else [value]
    return found


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target, anchor in links(page):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f'{page.name}: {target}'
        assert not anchor or anchor in anchors(path), f'{page.name}: {target}#{anchor}'


def test_every_page_can_be_found_and_every_entry_is_there():
    entries = nav(yaml.load((ROOT / 'mkdocs.yml').read_text(), Loader)['nav'])
    assert len(entries) == len(set(entries))
    written = {path.name for path in (ROOT / 'docs').glob('*.md')}
    assert not written & MADE
    cards = {path.relative_to(ROOT).as_posix() for path in ROOT.glob('checkpoints/*/*.md')}
    assert set(entries) == written | MADE | cards


def test_links_out_of_docs_lead_to_copies_inside():
    left = '[c](config/depth_anything.yaml) [d](https://e.org/docs/f.md) [g](#h)'
    assert inside_links(f'[b](docs/scale.md#x) {left}', 'README.md') == f'[b](scale.md#x) {left}'
    assert inside_links('[a](../README.md#b) [c](scale.md)', 'docs/x.md') == (
        '[a](index.md#b) [c](scale.md)'
    )
    card = 'checkpoints/depth_anything_world_tiny/MODEL_CARD.md'
    assert inside_links('[a](../../docs/scale.md)', card) == '[a](../../scale.md)'


def test_the_readme_is_all_there_and_its_tables_are_pages():
    pages = readme_pages()
    assert set(pages) == {'index.md', 'topics.md', 'programs.md'}
    assert pages['topics.md'].startswith('# Topics\n') and '`depth/points`' in pages['topics.md']
    assert '`depth/points` |' not in pages['index.md']
    headings = re.findall(r'^## .*$', (ROOT / 'README.md').read_text(), re.MULTILINE)
    assert re.findall(r'^## .*$', pages['index.md'], re.MULTILINE) == headings


def test_the_page_of_parameters_has_each_one_once():
    rows = re.findall(r'^\| `([\w.]+)`(\*?) \| `(.*?)` \|', parameters_page(), re.MULTILINE)
    assert [(name, mark == '*') for name, mark, _ in rows] == [
        (parameter.name, parameter.runtime) for parameter in parameters()
    ]
    defaults = {name: yaml.safe_load(value) for name, _, value in rows}
    assert defaults['scale.max_hold'] == 2.0 and defaults['autostart'] is True
    assert defaults['scale.T_camera_sensor'] == [0.0] * 7


def test_the_page_of_launch_arguments_reads_the_launch_file():
    listed = launch_arguments()
    text = (ROOT / 'launch' / 'depth_anything.launch.py').read_text()
    assert list(listed) == re.findall(r"^    '(\w+)': \(", text, re.MULTILINE)
    assert listed['params_file'][0] == 'config/depth_anything.yaml'
    assert listed['shm'] == ('false', 'exchange images through 32 MB of shared memory',
                             ('true', 'false'))
    assert 'depth-anything/DA3METRIC-LARGE' in listed['checkpoint'][1]


def test_the_change_log_becomes_markdown():
    assert plain('^^^\nlog\n^^^\n\nForthcoming\n-----\n* ``a`` b\n') == (
        '# Changes\n\n## Forthcoming\n* `a` b\n'
    )


def test_foxglove_shows_topics_of_the_node():
    layout = json.loads((ROOT / 'config' / 'foxglove_layout.json').read_text())
    panels = layout['configById']

    def leaves(node):
        return [node] if isinstance(node, str) else leaves(node['first']) + leaves(node['second'])

    assert sorted(leaves(layout['layout'])) == sorted(panels)
    assert {name.partition('!')[0] for name in panels} == {
        'Image', '3D', 'DiagnosticSummary', 'RawMessages'
    }
    shown = set(re.findall(r'"(/[a-z_/]+)"', json.dumps(panels)))
    topics = re.findall(r'`(/?[a-z_/]+)`', re.search(r'## Topics.*?\n## ', (
        ROOT / 'README.md').read_text(), re.DOTALL)[0])
    assert shown <= {'/' + topic.removeprefix('/') for topic in topics}
    assert {'/depth/points', '/depth/image_color', '/diagnostics', '/depth/scale'} <= shown
