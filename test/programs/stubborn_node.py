# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real node with a network that never comes to an end, or has a bug.

stubborn_node.py load|image|bug ...: it hangs and says so while it loads or at its first image, or
raises ZeroDivisionError there.
"""

from pathlib import Path
import sys
import threading

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from depth_anything_ros.ros.node import main  # noqa: E402
from helpers import ExactPredictor  # noqa: E402


class Stubborn(ExactPredictor):
    """Warms up, and then hangs or raises."""

    _calls = 0

    def __call__(self, image):
        """Return the first time only."""
        self._calls += 1
        if self._calls > 1:
            self.hang() if where == 'image' else 1 / 0
        return super().__call__(image)

    def hang(self):
        """Never return."""
        print('it hangs', flush=True)
        threading.Event().wait()


def load(model, runtime):
    """Return a stubborn network, or hang."""
    network = Stubborn(input_size=56)
    if where == 'load':
        network.hang()
    return network


if __name__ == '__main__':
    where = sys.argv.pop(1)
    main(sys.argv, load=load)
