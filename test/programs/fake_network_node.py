# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real node with a network of the tests': first argument exact, row, nearness or slow.

slow is nearness that takes a third of a second an image.

SIGUSR1 makes it say what each of its threads is doing.
"""

import faulthandler
from pathlib import Path
import signal
import sys
import threading

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from depth_anything_ros.ros.node import main  # noqa: E402
from helpers import ExactPredictor, NearnessPredictor, RowPredictor  # noqa: E402


class SlowPredictor(NearnessPredictor):
    """Takes its time."""

    def __call__(self, image):
        threading.Event().wait(1 / 3)
        return super().__call__(image)


if __name__ == '__main__':
    faulthandler.register(signal.SIGUSR1)
    predictor = {
        'exact': ExactPredictor,
        'row': RowPredictor,
        'nearness': NearnessPredictor,
        'slow': SlowPredictor,
    }[sys.argv.pop(1)]
    main(sys.argv, load=lambda model, runtime: predictor())
