# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What can be held of the image, Compose, the dev container and the workflows without Docker."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
import re
import shlex

from catkin_pkg.package import parse_package
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ['3.10', '3.11', '3.12', '3.13']
WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yaml'))
DOCKERFILE = (ROOT / 'docker' / 'Dockerfile').read_text()
COMPOSE = yaml.safe_load((ROOT / 'docker' / 'compose.yaml').read_text())
PREFIX = '/opt/depth_anything'


def instructions(name):
    """Return the arguments of each instruction of that name, lines joined, in order."""
    joined = re.sub(r'\\\n', ' ', DOCKERFILE)
    return [line.split(None, 1)[1] for line in joined.splitlines() if line.startswith(f'{name} ')]


def stages():
    """Return the names of the stages, and the last one's text."""
    names = re.findall(r'^FROM \S+ AS (\S+)$', DOCKERFILE, re.MULTILINE)
    return names, re.split(r'^FROM ', DOCKERFILE, flags=re.MULTILINE)[-1]


def sent_to_docker(path):
    """Say whether .dockerignore lets a file of the repository through: the last match decides."""
    sent = True
    for line in (ROOT / '.dockerignore').read_text().splitlines():
        pattern = line.removeprefix('!').removeprefix('**/')
        parents = [path, *list(Path(path).parents)[:-1]]
        if line and not line.startswith('#') and any(
            fnmatch.fnmatch(str(each) if '**' not in line else Path(each).name, pattern)
            for each in parents
        ):
            sent = line.startswith('!')
    return sent


def workflow(name):
    """Return a workflow's jobs."""
    return yaml.safe_load((ROOT / '.github' / 'workflows' / f'{name}.yaml').read_text())['jobs']


def commands(job):
    """Return what the steps of a job run, as one text."""
    return '\n'.join(step['run'] for step in job['steps'] if 'run' in step)


def test_what_the_image_copies_is_there_and_is_sent():
    copied = [x.split() for x in instructions('COPY')]
    sources = {x for words in copied if '--from' not in words[0]
               for x in words[:-1] if not x.startswith('--')}
    assert sources == {'package.xml', 'requirements', '.', 'docker/entrypoint.sh'}
    for source in sources - {'.'}:
        files = [p for p in (ROOT / source).rglob('*') if p.is_file()] or [ROOT / source]
        for file in files:
            assert file.is_file() and sent_to_docker(file.relative_to(ROOT).as_posix()), file


def test_docker_gets_what_is_built_and_nothing_else():
    needed = ['setup.py', 'setup.cfg', 'package.xml', 'resource/depth_anything_ros',
              'requirements/network.txt', 'launch/demo.launch.py', 'config/fastdds_shm.xml',
              'depth_anything_ros/ros/node.py', 'LICENSE']
    needed += [p.relative_to(ROOT).as_posix() for p in (ROOT / 'checkpoints').glob('*/*')]
    assert [x for x in needed if not sent_to_docker(x)] == []
    others = ['.git/HEAD', '.venv/bin/python', 'docs/scale.md', 'test/helpers.py', 'README.md',
              'docker/Dockerfile', 'build/site/index.html', 'demo_output/summary.json',
              'depth_anything_ros/ros/__pycache__/node.cpython-312.pyc']
    assert [x for x in others if sent_to_docker(x)] == []


def test_what_changes_least_comes_first_and_the_end_is_small_and_no_ones():
    order = [DOCKERFILE.index(x) for x in ('COPY package.xml', 'COPY requirements', 'COPY . .')]
    assert order == sorted(order)
    _, last = stages()
    assert last.startswith('ros:${ROS_DISTRO}-ros-core\n')  # no compilers
    assert re.findall(r'^USER (.*)$', last, re.MULTILINE) == ['1000:1000']
    for text in instructions('RUN'):
        assert text.count('apt-get update') == text.count('rm -rf /var/lib/apt/lists/*')
        assert 'pip install' not in text or '--no-cache-dir' in text
        assert 'apt-get install' not in text or '--no-install-recommends' in text


def test_either_torch_is_a_stage_and_pins_are_those_of_the_tests_but_for_numpy():
    names, _ = stages()
    assert {'wheels-cpu', 'wheels-cuda'} <= set(names)
    (install,) = [x for x in instructions('RUN') if 'pip install' in x]
    assert "sed '/^numpy==/d' requirements/constraints.txt" in install
    assert '-r requirements/robot.txt' in install
    pins = (ROOT / 'requirements' / 'constraints.txt').read_text().splitlines()
    assert [line for line in pins if line.startswith('numpy')
            and not line.startswith('numpy==')] == []


def test_the_image_leaves_out_rviz_alone():
    left_out = re.findall(r"grep -v '\^(\w+)\$'", DOCKERFILE)
    assert left_out == ['rviz2']
    assert left_out[0] in {x.name for x in parse_package(str(ROOT / 'package.xml')).exec_depends}


def test_the_entry_sources_what_was_built():
    assert f'--install-base {PREFIX}' in DOCKERFILE
    assert f'COPY --from=build {PREFIX} {PREFIX}' in DOCKERFILE
    entry = (ROOT / 'docker' / 'entrypoint.sh')
    assert f'source {PREFIX}/setup.bash' in entry.read_text()
    assert entry.read_text().endswith('exec "$@"\n') and entry.stat().st_mode & 0o111


@pytest.mark.parametrize('service', ['demo', 'robot', 'robot-cuda'])
def test_compose_gives_large_images_a_way(service):
    made = COMPOSE['services'][service]
    assert (made['network_mode'], made['ipc']) == ('host', 'host')
    assert made['user'] == '${HOST_UID:-1000}:${HOST_GID:-1000}'
    profiles = {made['environment'][f'{name}_DEFAULT_PROFILES_FILE']
                for name in ('FASTRTPS', 'FASTDDS')}
    assert profiles == {f'{PREFIX}/share/depth_anything_ros/config/fastdds_shm.xml'}
    build = made['build']
    assert (ROOT / 'docker' / build['context'] / build['dockerfile']).is_file()
    program = shlex.split(made['command'])[:4]
    if program[1] == 'run':
        assert f"'{program[3]}'" in (ROOT / 'setup.py').read_text()
    else:
        assert (ROOT / 'launch' / program[3]).is_file()
    gpu = service == 'robot-cuda'
    assert ('deploy' in made) == gpu == (build.get('args') == {'COMPUTE': 'cuda'})


def test_the_dev_container_is_a_stage_with_what_make_needs():
    made = json.loads((ROOT / '.devcontainer' / 'devcontainer.json').read_text())
    build = made['build']
    folder = ROOT / '.devcontainer'
    assert (folder / build['dockerfile']).resolve() == ROOT / 'docker' / 'Dockerfile'
    assert (folder / build['context']).resolve() == ROOT
    names, _ = stages()
    assert build['target'] in names
    assert made['postCreateCommand'] == 'make .venv/installed'
    assert 'INSTALLED := .venv/installed' in (ROOT / 'Makefile').read_text()
    assert 'make python3-venv' in DOCKERFILE


def test_the_pythons_of_ci_are_those_that_everything_else_names():
    job = workflow('test')['test']
    assert job['strategy']['matrix']['python'] == PYTHONS
    assert commands(job) == 'bash .ci/run' and 'make test' in (ROOT / '.ci' / 'run').read_text()
    span = f'Python {PYTHONS[0]} to {PYTHONS[-1]}'
    for name in ('README.md', 'Makefile', 'requirements/ros.txt', 'docs/docker.md'):
        assert span in (ROOT / name).read_text(), name
    assert f"python_requires='>={PYTHONS[0]}'" in (ROOT / 'setup.py').read_text()


def test_every_distribution_of_the_readme_is_built_in_as_on_a_robot():
    job = workflow('ros')['colcon']
    distributions = job['strategy']['matrix']['distro']
    assert distributions == ['humble', 'jazzy', 'kilted', 'lyrical', 'rolling']
    assert job['container'] == 'ros:${{ matrix.distro }}-ros-base'
    assert 'Humble to Lyrical' in (ROOT / 'README.md').read_text()
    run = commands(job)
    readme = (ROOT / 'README.md').read_text()
    for line in ('rosdep install --from-paths src --ignore-src -y',
                 'python3 -m venv --system-site-packages venv && touch venv/COLCON_IGNORE',
                 'pip install -r src/depth_anything_ros/requirements/robot.txt',
                 'python3 -m colcon build --packages-select depth_anything_ros'):
        assert line in readme and line in run, line
    assert 'colcon test-result' in run and '--show-args' in run
    for name in re.findall(r'depth_anything_ros (\w+\.launch\.py)', run):
        assert (ROOT / 'launch' / name).is_file()


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_no_workflow_may_write_or_run_for_ever(path):
    made = yaml.safe_load(path.read_text())
    assert made['permissions'] == {'contents': 'read'}
    for job in made['jobs'].values():
        assert job['timeout-minutes'] <= 120
        for file in re.findall(r'requirements/(\w+)\.txt', commands(job)):
            assert (ROOT / 'requirements' / f'{file}.txt').is_file()
        for target in re.findall(r'^make (\w+)', commands(job), re.MULTILINE):
            assert re.search(rf'^{target}:', (ROOT / 'Makefile').read_text(), re.MULTILINE)
