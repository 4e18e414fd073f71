"""`mmreward-serve --check`: run the checks, print them, return the exit code.

0: it would serve. 1: it would not. 2: no folder was named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mmreward_service.check.findings import Findings
from mmreward_service.check.report import Report, check_checkpoint
from mmreward_service.check.table import as_json, print_report
from mmreward_service.settings import Settings, SettingsRefused, load_settings


def run_check(
    config: Path | None, given: dict[str, Any], *, parity: bool, json_output: bool
) -> int:
    """Check the checkpoint that options, environment and settings file name.

    Settings that would be refused are a finding like any other: the folder is checked all the same.
    """
    findings = Findings()
    settings = _settings(config, given, findings)
    if settings.checkpoint is None:
        sys.stderr.write("mmreward-serve: --check needs the folder of a checkpoint\n")
        return 2
    report = check_checkpoint(settings.checkpoint, settings, parity=parity, findings=findings)
    _show(report, json_output)
    return 0 if report.findings.would_serve else 1


def _settings(config: Path | None, given: dict[str, Any], findings: Findings) -> Settings:
    try:
        settings = load_settings(config, **given)
    except SettingsRefused as error:
        findings.problem("settings", str(error))
        # The defaults stand in for the rest: what is refused must not decide what is checked.
        return Settings.model_construct(checkpoint=given.get("checkpoint"))
    findings.ok("settings", "would be accepted")
    return settings


def _show(report: Report, json_output: bool) -> None:
    if json_output:
        sys.stdout.write(json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n")
    else:
        print_report(report)
