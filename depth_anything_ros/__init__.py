# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metric 3D from one ordinary camera: image -> network -> relative -> metric depth + cloud."""
