# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Networks that workers in other processes find by import, and what happens to them."""

import json
import os
from pathlib import Path
import shutil
import signal
import threading
import time
from types import SimpleNamespace

from depth_anything_ros.annotation import unfinished
from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network.threads import thread_count
from helpers import RowPredictor

KILLED = 'killed-'  # a file that is named so and by a number dies with the worker that takes it
AT_IMAGE = 3
GO = 'go'
NOTES = 'notes.json'


class Mortal(RowPredictor):
    """Kills its process at its third image, as often as there are files that say so."""

    def __init__(self, folder):
        """Look for those files in a folder."""
        super().__init__()
        self._folder, self._images = folder, 0

    def __call__(self, image):
        """Return what RowPredictor does, if anything."""
        self._images += 1
        if self._images == AT_IMAGE:
            for file in sorted(self._folder.glob(f'{KILLED}*')):
                try:
                    file.unlink()
                except FileNotFoundError:  # another worker has taken it
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(image)


class Patient(RowPredictor):
    """Waits at its third image until there is a file that lets it go."""

    def __init__(self, folder):
        """Look for the file in a folder."""
        super().__init__()
        self._folder, self._images = folder, 0

    def __call__(self, image):
        """Return what RowPredictor does, at last."""
        self._images += 1
        while self._images == AT_IMAGE and not (self._folder / GO).exists():
            time.sleep(0.01)
        return super().__call__(image)


class Noting(RowPredictor):
    """Notes which threads of ours there are, and how many the network would have."""

    def __init__(self, folder):
        """Leave the note in a folder."""
        super().__init__()
        self._folder = folder

    def __call__(self, image):
        """Return what RowPredictor does."""
        names = [thread.name for thread in threading.enumerate()]
        ours = [name for name in names if name.startswith(('measure', 'write'))]
        note = {'threads': ours, 'network': thread_count(0)}
        (self._folder / NOTES).write_text(json.dumps(note))
        return super().__call__(image)


def noting(model, runtime):
    """Return a network that leaves a note in the folder of model.checkpoint."""
    return Noting(Path(model.checkpoint))


def patient(model, runtime):
    """Return a network that waits for a file in the folder of model.checkpoint."""
    return Patient(Path(model.checkpoint))


def mortal(model, runtime):
    """Return a network that dies as the folder of model.checkpoint says."""
    return Mortal(Path(model.checkpoint))


def dead_at_the_end(model, runtime):
    """Return a network whose process dies when the output is in its place and nobody knows it."""
    remove, calls = shutil.rmtree, []

    def rmtree(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:  # before the work, and after it
            os.kill(os.getpid(), signal.SIGKILL)
        remove(*args, **kwargs)

    unfinished.shutil = SimpleNamespace(rmtree=rmtree)
    return RowPredictor()


def broken(model, runtime):
    """Find that a checkpoint cannot be loaded."""
    raise CheckpointError('there is no network: look elsewhere')
