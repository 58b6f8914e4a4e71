# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A teacher's labels of pictures without depth, in shards to train on."""
