# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From metric depth to what navigation takes: a point cloud, thinned and cleaned, and a scan."""
