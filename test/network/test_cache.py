# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exports are kept where there is a place for them, and what is wrong there is made again."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
import tempfile
import time

import onnx
import pytest
from test_predictor import depth_anything, save
import torch

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import BackendError
from depth_anything_ros.network import cache, onnx_file
from depth_anything_ros.network.checkpoint import Checkpoint, open_checkpoint
from depth_anything_ros.network.self_check import Reference
from depth_anything_ros.network.spec import ModelSpec

SPEC = ModelSpec('tiny', 'inverse_depth', metric=False, input_size=56)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = save(depth_anything(), tmp_path_factory.mktemp('tiny'), {'size': 56})
    return open_checkpoint(Path(folder), ModelConfig(checkpoint=folder))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for temporary files, and no other place to keep anything."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.delenv('HOME', raising=False)
    (tmp_path / 'temporary').mkdir()
    return tmp_path


@pytest.mark.parametrize('home', ['unset', '', 'relative', 'a file', 'read-only'])
def test_without_a_home_exports_are_kept_in_the_temporary_folder(
    home: str, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(root)
    if home == 'unset':  # and no entry for this user either, as in a container with --user
        monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    elif home == 'a file':
        (root / 'file').touch()
        monkeypatch.setenv('HOME', str(root / 'file'))
    elif home == 'read-only':
        monkeypatch.setenv('HOME', str(root / 'home'))
        usable = cache._is_usable
        monkeypatch.setattr(cache, '_is_usable', lambda f: 'home' not in f.parts and usable(f))
    else:
        monkeypatch.setenv('HOME', home)
    with caplog.at_level(logging.WARNING):
        folder = cache.cache_folder()
    assert folder == root / 'temporary' / f'depth_anything_ros-{os.getuid()}'
    assert folder.stat().st_mode & 0o777 == 0o700
    (told,) = [record.getMessage() for record in caplog.records]
    assert 'cannot be written' in told and 'set XDG_CACHE_HOME' in told


def test_a_home_is_used_silently(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv('HOME', str(root))
    assert cache.cache_folder() == root / '.cache' / 'depth_anything_ros'
    monkeypatch.setenv('XDG_CACHE_HOME', str(root / 'xdg'))
    assert cache.cache_folder() == root / 'xdg' / 'depth_anything_ros'
    assert not caplog.records


@pytest.mark.parametrize('trap', ['link', 'file'])
def test_a_temporary_folder_of_somebody_else_is_not_trusted(
    trap: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    place = root / 'temporary' / f'depth_anything_ros-{os.getuid()}'
    if trap == 'link':
        (root / 'theirs').mkdir()
        place.symlink_to(root / 'theirs')
    else:
        place.touch()
    with pytest.raises(BackendError, match='set XDG_CACHE_HOME to a folder that can'):
        cache.cache_folder()


def told(path: Path, text: str) -> None:
    """Write what an export says of itself."""
    model = onnx.load(path)
    del model.metadata_props[:]
    model.metadata_props.add(key='depth_anything_ros', value=text)
    onnx.save(model, path)


def test_what_is_wrong_in_the_cache_is_made_again(
    checkpoint: Checkpoint, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(root))
    path = cache.cached(checkpoint).path
    facts = json.loads(onnx.load(path).metadata_props[0].value)
    reference = facts['reference']
    made: list[Path] = []

    def export(network: object, spec: ModelSpec, where: Path) -> None:
        made.append(where)
        told(where, json.dumps(facts))

    monkeypatch.setattr(cache, 'export', export)
    for wrong in (
        '[]', 'null', '{', '[' * 100_000, '"text"', '{}', '{"format": []}',
        json.dumps({**facts, 'format': facts['format'] + 1}),
        json.dumps({**facts, 'spec': []}),
        json.dumps({**facts, 'spec': {**facts['spec'], 'mean': 'gray'}}),
        json.dumps({**facts, 'spec': {**facts['spec'], 'multiple': 0}}),
        json.dumps({**facts, 'spec': {**facts['spec'], 'space': 'time'}}),
        json.dumps({**facts, 'reference': {**reference, 'height': 10**12}}),
        json.dumps({**facts, 'reference': {**reference, 'stride': 0}}),
        json.dumps({**facts, 'reference': {**reference, 'values': 'no hexadecimal'}}),
    ):
        told(path, wrong)
        made.clear()
        found = cache.cached(checkpoint)
        assert made == [path], wrong
        assert found.spec == checkpoint.spec and isinstance(found.reference, Reference)
    assert cache.cached(checkpoint).path == path and made == [path]  # a good one is not


def test_another_version_of_the_package_has_a_file_of_its_own(
    checkpoint: Checkpoint, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(root))
    written: list[Path] = []
    facts = onnx_file.OnnxFile(root, SPEC, None)
    monkeypatch.setattr(cache, 'export', lambda network, spec, path: written.append(path))
    monkeypatch.setattr(cache, 'read', lambda path, trusted: facts)
    for number in ('0.1.0', '0.2.0'):
        monkeypatch.setattr(
            cache, 'version', lambda name, n=number: n if name == 'depth_anything_ros' else '1'
        )
        cache.cached(checkpoint)
    assert len(set(written)) == 2


def test_what_killed_writers_left_is_removed(
    checkpoint: Checkpoint, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(root))
    folder = cache.cache_folder()
    orphan, young, network = (folder / n for n in ('tmpa.part', 'tmpb.part', 'old.onnx'))
    for path in (orphan, young, network):
        path.touch()
    for path in (orphan, network):
        os.utime(path, (time.time() - 3700,) * 2)
    path = cache.cached(checkpoint).path
    assert set(folder.iterdir()) == {young, network, path}
    assert torch.isfinite(torch.tensor(cache.cached(checkpoint).reference.values)).all()
