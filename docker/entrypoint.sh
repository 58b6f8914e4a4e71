#!/bin/bash
# Runs the command, as process 1, with ROS and the package in its environment.
set -e
# shellcheck source=/dev/null
source /opt/depth_anything/setup.bash
exec "$@"
