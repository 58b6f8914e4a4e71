# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A small synthetic world whose true depth is known, for the demo, the tests and training."""
