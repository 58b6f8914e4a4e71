# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `make docs` adds to the pages in docs/: MkDocs calls the functions named on_....

The README is the front page; its long tables get pages of their own. Parameters and launch
arguments are written from the code. Links out of docs/ lead to copies inside the site.
"""

from __future__ import annotations

import ast
from pathlib import Path, PurePosixPath
import re
import sys

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from depth_anything_ros.config import Parameter, parameters  # noqa: E402, I100
from depth_anything_ros.network.hub import KNOWN  # noqa: E402

# Sections of the README that are pages of the site.
SECTIONS = {'Topics': 'topics.md', 'Programs': 'programs.md'}
# Files outside docs/ -> where the site has them.
COPIED = {
    'CONTRIBUTING.md': 'contributing.md',
    'CHANGELOG.rst': 'changes.md',
    **{
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix()
        for pattern in ('config/*', 'config/*/*', 'checkpoints/*/MODEL_CARD.md', 'LICENSE',
                        'docker/*', 'requirements/*', 'launch/*.py', '.github/workflows/*.yaml')
        for path in ROOT.glob(pattern) if path.is_file()
    },
}


def on_files(files, config):
    """Add the pages that do not lie in docs/."""
    from mkdocs.structure.files import File

    pages = {**readme_pages(), 'parameters.md': parameters_page(), 'launch.md': launch_page()}
    for outside, inside in COPIED.items():
        text = (ROOT / outside).read_text()
        if inside.endswith('.md'):
            text = inside_links(plain(text) if outside.endswith('.rst') else text, outside)
        pages[inside] = text
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Lead a page's links out of docs/ to the copies."""
    path = page.file.src_uri
    return inside_links(markdown, f'docs/{path}') if (ROOT / 'docs' / path).is_file() else markdown


def readme_pages():
    """Return the pages that the README becomes: path -> Markdown."""
    front, pages = [], {}
    for section in re.split(r'^(?=## )', (ROOT / 'README.md').read_text(), flags=re.MULTILINE):
        name = section.partition('\n')[0].removeprefix('## ')
        text = inside_links(section, 'README.md')
        if name in SECTIONS:
            pages[SECTIONS[name]] = text.replace('## ', '# ', 1)
            front.append(f'## {name}\n\n[{name}]({SECTIONS[name]}) have a page of their own.\n\n')
        else:
            front.append(text)
    return {'index.md': ''.join(front), **pages}


def inside_links(text, source):
    """Return Markdown whose relative links lead where the site has their files.

    Args:
        text: Markdown.
        source: where it lies in the repository.
    """
    places = {'README.md': 'index.md', **COPIED}
    here = place(source, places)

    def moved(match):
        target, _, anchor = match[1].partition('#')
        if not target or '://' in target:
            return match[0]
        wanted = resolved(PurePosixPath(source).parent / target)
        path = place(wanted, places)
        if path is None:  # MkDocs will say that it is not there
            return match[0]
        up = len(PurePosixPath(here).parent.parts)
        return '](' + '../' * up + path + (f'#{anchor}' if anchor else '') + ')'

    return re.sub(r'\]\(([^)\s]+)\)', moved, text)


def place(path, places):
    """Return where the site has a file of the repository, or None."""
    return places.get(path) or (path.removeprefix('docs/') if path.startswith('docs/') else None)


def resolved(path):
    """Return a path without its ..'s."""
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == '..' else [*parts, part]
    return '/'.join(parts)


def plain(rst):
    """Return the change log, whose reStructuredText is nearly Markdown already, as Markdown."""
    text = re.sub(r'^\^+\n.*\n\^+\n', '# Changes\n', rst)
    text = re.sub(r'^(\S.*)\n-+$', r'## \1', text, flags=re.MULTILINE)
    return text.replace('``', '`')


def parameters_page():
    """Return all parameters, group by group, as config.py declares them."""
    lines = [
        '# Parameters', '',
        'As in [config/depth_anything.yaml](config/depth_anything.yaml), which is a file to copy. '
        'Those marked * follow `ros2 param set`; the others are read at start.',
    ]
    group = None
    for parameter in parameters():
        *prefix, _ = parameter.name.split('.')
        if prefix != group:
            group = prefix
            lines += ['', f'## {".".join(prefix) or "The node"}', '',
                      '| parameter | default | range | meaning |', '|---|---|---|---|']
        mark = '*' if parameter.runtime else ''
        cells = (f'`{parameter.name}`{mark}', f'`{shown(parameter.value)}`', span(parameter),
                 parameter.description)
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join(lines) + '\n'


def shown(value):
    """Return a default as a parameter file has it."""
    if isinstance(value, tuple):
        return '[' + ', '.join(map(shown, value)) + ']'
    return str(value).lower() if isinstance(value, bool) else repr(value)


def span(parameter: Parameter):
    """Return what a parameter may be."""
    if parameter.choices:
        return ', '.join(parameter.choices)
    low, high = parameter.minimum, parameter.maximum
    text = '' if low is None else f'{low:g} to {high:g}' if high is not None else f'from {low:g}'
    return f'{text} {parameter.unit}'.strip()


def launch_arguments():
    """Return name -> (default, description, choices) as the launch file has them.

    It is read, not run: launch is not there where documentation is built.
    """
    tree = ast.parse((ROOT / 'launch' / 'depth_anything.launch.py').read_text())
    (table,) = [node.value for node in tree.body if isinstance(node, ast.Assign)
                and getattr(node.targets[0], 'id', '') == 'ARGUMENTS']
    names = {'CONFIG': PurePosixPath('config'), 'KNOWN': KNOWN, 'str': str}
    return eval(compile(ast.Expression(table), 'ARGUMENTS', 'eval'), {'__builtins__': {}}, names)


def launch_page():
    """Return the arguments of depth_anything.launch.py."""
    lines = [
        '# Launch arguments', '',
        '    ros2 launch depth_anything_ros depth_anything.launch.py image:=/camera/image_raw', '',
        'What `--show-args` lists:', '',
        '| argument | default | meaning |', '|---|---|---|',
    ]
    for name, (default, text, choices) in launch_arguments().items():
        told = ' '.join(text.split()) + (f' ({" or ".join(choices)})' if choices else '')
        lines.append(f'| `{name}:=` | {f"`{default}`" if default else ""} | {told} |')
    lines += ['', '`demo.launch.py` takes `checkpoint:=` and `rviz:=`, and drives through the '
              'synthetic world.']
    return '\n'.join(lines) + '\n'
