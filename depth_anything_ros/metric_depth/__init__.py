# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a prediction to metres: anchors, the line through them, refinement, uncertainty."""
