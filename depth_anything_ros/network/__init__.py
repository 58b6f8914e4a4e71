# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a prediction: what a network is, how it is loaded and run."""
