# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a network, or of saved predictions, on the six data sets of the paper."""
