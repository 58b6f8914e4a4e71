# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Findings as a table with a cure under each failed line, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from depth_anything_ros.doctor.findings import FAILED, Finding, is_healthy, NOTE, OK, SKIPPED

_COLOURS = {OK: 'green', NOTE: 'yellow', FAILED: 'red', SKIPPED: 'bright_black'}
_SIGNS = {OK: 'ok', NOTE: 'note', FAILED: 'FAILED', SKIPPED: '-'}


def print_findings(console: Console, findings: Sequence[Finding], title: str) -> None:
    """Print the table, and how many lines failed."""
    table = Table(title=title, title_justify='left')
    table.add_column('line', style='bold', no_wrap=True)
    table.add_column('', no_wrap=True)
    table.add_column('what is found, and what mends it', overflow='fold')
    for finding in findings:
        colour = _COLOURS[finding.state]
        said = _plain(finding.said)
        if finding.cure:
            said += f'\n[cyan]-> {_plain(finding.cure)}[/cyan]'
        table.add_row(finding.line, f'[{colour}]{_SIGNS[finding.state]}[/{colour}]', said)
    console.print(table)
    count = sum(finding.state == FAILED for finding in findings)
    told = f'{count} of {len(findings)} lines failed' if count else 'nothing failed'
    console.print(told, style='red' if count else 'green', highlight=False)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what JSON can say of it."""
    return {'healthy': is_healthy(findings), 'findings': [asdict(each) for each in findings]}


def _plain(text: str) -> str:
    return text.replace('[', r'\[')
