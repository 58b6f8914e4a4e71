# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real node with a network of the tests': first argument exact or row.

SIGUSR1 makes it say what each of its threads is doing.
"""

import faulthandler
from pathlib import Path
import signal
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from depth_anything_ros.ros.node import main  # noqa: E402
from helpers import ExactPredictor, RowPredictor  # noqa: E402

if __name__ == '__main__':
    faulthandler.register(signal.SIGUSR1)
    predictor = {'exact': ExactPredictor, 'row': RowPredictor}[sys.argv.pop(1)]
    main(sys.argv, load=lambda model, runtime: predictor())
