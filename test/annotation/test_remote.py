# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags in a store: fsspec's own one in memory, and stores that refuse or lie."""

from pathlib import Path
from tempfile import gettempdir

import pytest
from recorded_drive import drive, load, write_bag

from depth_anything_ros.annotation import remote
from depth_anything_ros.annotation.unit import annotate_unit, Request
from depth_anything_ros.annotation.units import find_units
from depth_anything_ros.config import Config
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.tools import annotate as program

fsspec = pytest.importorskip('fsspec')


class Refusing(fsspec.AbstractFileSystem):
    """A store whose credentials are wrong."""

    protocol = 'refusing'

    def ls(self, path, detail=True, **kwargs):
        """Say so."""
        raise PermissionError('Unable to locate credentials')

    info = ls


@pytest.fixture
def store():
    """Return a store with a bag, two in a folder, and one that is cut to nothing."""
    memory = fsspec.filesystem('memory')
    yield memory
    memory.rm('/fleet', recursive=True)


@pytest.fixture
def bag(store, tmp_path):
    """Return a bag here, which is there too."""
    bag = write_bag(tmp_path / 'one', drive(2))
    for name in ('one', 'day/two'):
        store.put(f'{bag}/', f'/fleet/{name}/', recursive=True)
    store.put_file(str(bag / 'one.mcap'), '/fleet/day/three.mcap')
    store.pipe_file('/fleet/broken/x.mcap', b'none')
    store.pipe_file('/fleet/notes/readme.txt', b'none')
    return bag


def found(*addresses, out=Path('out')):
    """Return what is found, by where its output goes."""
    return {str(place.relative_to(out)): unit.path for unit, place in find_units(addresses, out)}


def annotate(unit, out):
    """Annotate a unit; return the report."""
    return annotate_unit(unit, Request(), Config(), load, out)


def one_line(call, *arguments):
    """Return what a user is told."""
    with pytest.raises(DatasetError) as told:
        call(*arguments)
    assert '\n' not in str(told.value)
    return str(told.value)


def test_bags_folders_and_patterns_in_a_store(bag):
    assert found('memory://fleet/one') == {'.': 'memory:///fleet/one'}
    in_day = {'two': 'memory:///fleet/day/two', 'three': 'memory:///fleet/day/three.mcap'}
    assert found('memory://fleet/day') == in_day
    assert found('memory://fleet/day/*') == in_day
    assert set(found('memory://fleet')) == {'one', 'day/two', 'day/three', 'broken/x'}
    assert set(found('memory://fleet/day', str(bag))) == {'two', 'three', 'one'}
    assert found(f'file://{bag}') == {'.': str(bag)}
    assert 'holds no bag' in one_line(found, 'memory://fleet/notes')
    for name in ('nothing', 'nothing*'):
        assert f'memory://fleet/{name} is not there' in one_line(found, f'memory://fleet/{name}')


def test_a_bag_in_a_store_gives_the_same_bytes_and_leaves_nothing_behind(bag, tmp_path):
    before = set(Path(gettempdir()).glob('annotate-*'))
    outs = []
    for name in (str(bag), 'memory://fleet/one'):
        ((unit, _),) = find_units([name], tmp_path / 'out')
        outs.append(tmp_path / str(len(outs)) / 'out')
        report = annotate(unit, outs[-1])
        assert report.finished and report.unit.path.endswith('one')
    first, second = ({p.name: p.read_bytes() for p in out.iterdir()} for out in outs)
    assert first == second and set(Path(gettempdir()).glob('annotate-*')) == before


def test_what_cannot_be_had_is_one_line_that_names_the_address(bag, tmp_path, monkeypatch):
    fsspec.register_implementation('refusing', Refusing, clobber=True)
    said = one_line(found, 'refusing://bucket/one')
    assert 'refusing://bucket/one cannot be read (Unable to locate credentials)' in said
    said = one_line(found, 'refusing://key:hush@bucket/one')
    assert 'refusing://***@bucket/one cannot be read' in said and 'hush' not in said
    assert 'none://x cannot be read (Protocol not known: none' in one_line(found, 'none://x')
    ((broken, out),) = find_units(['memory://fleet/broken/x.mcap'], tmp_path / 'out')
    said = one_line(annotate, broken, out)
    assert 'nothing of memory:///fleet/broken/x.mcap can be read' in said
    ((unit, out),) = find_units(['memory://fleet/one'], tmp_path / 'out')
    with monkeypatch.context() as patch:
        usage = remote.shutil.disk_usage(tmp_path)._replace(free=1000)
        patch.setattr(remote.shutil, 'disk_usage', lambda _: usage)
        assert 'set TMPDIR' in one_line(annotate, unit, out)
    with monkeypatch.context() as patch:
        patch.setattr(type(fsspec.filesystem('memory')), 'get_file',
                      lambda self, file, to, **_: Path(to).write_bytes(b'half'))
        assert 'was not copied as a whole' in one_line(annotate, unit, out)
    fsspec.filesystem('memory').rm('/fleet/one', recursive=True)
    assert 'memory:///fleet/one is not there' in one_line(annotate, unit, out)
    assert not out.exists()


@pytest.mark.parametrize('arguments, says', [
    (['memory://fleet/one', 's3://bucket/out'], 'OUT s3://bucket/out is not on this machine'),
    (['memory://fleet/one', 'out', '--split', '60'], '--split would copy a bag'),
])
def test_the_program_s_mistakes_are_one_line(bag, arguments, says, capsys):
    assert program.main(arguments) == 2
    said = capsys.readouterr().err
    assert says in said and said.count('\n') == 1
