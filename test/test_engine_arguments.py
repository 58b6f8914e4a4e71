# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is for Ray's workers means the same to every program, and a wrong number ends in a line."""

from __future__ import annotations

import argparse

import pytest

from depth_anything_ros import engine_arguments
from depth_anything_ros.errors import ConfigError
from depth_anything_ros.tools import annotate, label

PROGRAMS = {'label': (label, ['--teacher', 'bundled']), 'annotate': (annotate, [])}


@pytest.mark.parametrize('program', PROGRAMS)
@pytest.mark.parametrize('name', ['workers', 'cpus-per-worker'])
@pytest.mark.parametrize('value', ['0', '-1', '1.5', 'all', ''])
@pytest.mark.parametrize('engine', ['local', 'ray'])
def test_a_number_of_workers_that_is_none_is_one_line(
    capsys: pytest.CaptureFixture[str], program: str, name: str, value: str, engine: str
) -> None:
    module, more = PROGRAMS[program]
    with pytest.raises(SystemExit) as ended:
        module.main(['in', 'out', *more, '--engine', engine, f'--{name}={value}'])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f'{program}: error: argument --{name}: invalid count value: {value!r}')


@pytest.mark.parametrize('said', [['--workers', '2'], ['--cpus-per-worker', '1'],
                                  ['--address', '10.0.0.1:6379']])
def test_what_is_for_ray_is_refused_without_it(said: list[str]) -> None:
    args = parsed(said)
    with pytest.raises(ConfigError, match='^--address, --workers and --cpus-per-worker are for '
                                          '--engine ray$'):
        engine_arguments.ray_of(args)


@pytest.mark.parametrize(('said', 'asked'), [
    ([], (None, None, 1)),
    (['--workers', '3', '--cpus-per-worker', '2'], (None, 3, 2)),
    (['--address', 'a:1'], ('a:1', None, 1)),
])
def test_ray_is_told_what_was_asked_for(said: list[str], asked: tuple[object, ...]) -> None:
    args = parsed(['--engine', 'ray', *said])
    assert engine_arguments.ray_of(args) == asked
    assert engine_arguments.ray_of(parsed([])) is None


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    engine_arguments.add_arguments(parser)
    return parser.parse_args(words)
