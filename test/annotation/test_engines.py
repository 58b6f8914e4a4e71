# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several devices in one process: the same bytes as on one, and an end to all when one fails."""

from pathlib import Path
import threading

import pytest
from recorded_drive import drive, write_bag

from depth_anything_ros.annotation.engines import Job, LocalEngine
from depth_anything_ros.annotation.unit import Request
from depth_anything_ros.annotation.unit_report import Unit, Work
from depth_anything_ros.config import Config
from depth_anything_ros.errors import CheckpointError, DeviceError
from helpers import RowPredictor

BAGS, FRAMES = 4, 3


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    """Return bags, each a little longer than the one before."""
    folder, messages = tmp_path_factory.mktemp('bags'), drive(FRAMES)
    return [write_bag(folder / str(i), messages[: len(messages) - i]) for i in range(BAGS)]


def run(engine, bags, out, load, stopped=lambda: False):
    """Annotate bags; return the reports by name."""
    work = [Work(Unit(str(bag)), out / bag.name) for bag in bags]
    found = list(engine.run(work, Job(Request(), Config(), load), lambda *_: None, stopped))
    return {Path(report.output).name: report for report in found}


def test_two_devices_work_at_once_and_give_what_one_does(bags, tmp_path):
    met, devices = threading.Barrier(2, timeout=60), []

    class Meeting(RowPredictor):
        """A network that gives its first answer when the other is asked too."""

        first = True

        def __call__(self, image):
            if self.first:
                met.wait()
            self.first = False
            return super().__call__(image)

    def load(model, runtime):
        devices.append((runtime.device, runtime.threads))
        return Meeting()

    both = run(LocalEngine(['cpu', 'cpu']), bags, tmp_path / 'two', load)
    assert [device for device, _ in devices] == ['cpu', 'cpu']
    assert min(threads for _, threads in devices) >= 1  # a share, and not all for each
    one = run(LocalEngine(), bags, tmp_path / 'one', lambda model, runtime: RowPredictor())
    assert set(both) == set(one) == {str(i) for i in range(BAGS)}
    for name in one:
        assert both[name].finished and both[name].cameras == one[name].cameras
        first, second = (
            {p.name: p.read_bytes() for p in (tmp_path / runs / name).iterdir()}
            for runs in ('one', 'two')
        )
        assert first == second


def test_what_no_bag_is_to_blame_for_ends_all(bags, tmp_path):
    def load(model, runtime):
        raise CheckpointError('there is no network')

    with pytest.raises(CheckpointError, match='^there is no network$'):
        run(LocalEngine(['cpu', 'cpu']), bags, tmp_path, load)
    assert not [t for t in threading.enumerate() if t.name.startswith('unit')]


def test_a_wish_to_stop_begins_no_more(bags, tmp_path):
    asked = []

    class Asking(RowPredictor):
        """A network at whose first image the wish comes."""

        def __call__(self, image):
            asked.append(1)
            return super().__call__(image)

    found = run(LocalEngine(['cpu', 'cpu']), bags, tmp_path, lambda *_: Asking(),
                lambda: bool(asked))
    assert 1 <= len(found) <= 2 and not any(report.finished for report in found.values())


def test_a_device_that_is_not_there_is_one_line_before_anything_runs():
    with pytest.raises(DeviceError, match='runtime.device is cuda:77 but'):
        LocalEngine(['cpu', 'cuda:77'])
