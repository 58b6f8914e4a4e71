# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real annotate with a network of the tests'."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recorded_drive import load  # noqa: E402

from depth_anything_ros.tools import annotate  # noqa: E402

if __name__ == '__main__':
    annotate.load_predictor = load
    sys.exit(annotate.main())
