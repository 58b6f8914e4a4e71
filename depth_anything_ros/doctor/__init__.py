# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Why nothing arrives, or no metres: what is seen of machine and robot -> findings with cures."""
