"""What the scores stand on beside the files: settings, the fence, calibration, golden items."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from mmreward_service.check.findings import Findings
from mmreward_service.check.folder import Folder
from mmreward_service.reward.spec import GoldenItem

_PNG = b"\x89PNG\r\n\x1a\n"
_REASON = re.compile(r"^.*would break the scores: ")


def check_fence(engine_args: Mapping[str, Any], findings: Findings) -> None:
    """Engine arguments that vLLM must not be started with, each by name."""
    if not engine_args:
        findings.ok("fence", "no engine arguments of yours")
        return
    if importlib.util.find_spec("torch") is None:
        findings.note("fence", "engine_args were not checked: the fence needs torch installed")
        return
    # The fence imports the checkpoint code, and that imports torch.
    from mmreward_service.engine.vllm.fence import FenceError, check_arguments

    for name, value in sorted(engine_args.items()):
        try:
            check_arguments({name: value})
        except FenceError as error:
            findings.problem("fence", _REASON.sub("", str(error)))
        else:
            findings.ok("fence", f"{name} is allowed")


def check_calibration(folder: Folder, findings: Findings) -> None:
    """For which kind, mode and K probabilities can be had. None is no obstacle to serving."""
    if folder.spec is None:
        return
    if not folder.spec.calibration:
        findings.note("calibration", "none: `prob` and `delta_calibrated` will be null")
    for one in folder.spec.calibration:
        findings.ok(
            "calibration",
            f"{one.kind}, mode {one.mode}, K = {one.critiques}: {one.method}, "
            f"{one.errors} errors of {one.pairs} pairs",
        )


def check_golden(folder: Folder, findings: Findings) -> None:
    """Whether the service can compare itself with the trainer at its start."""
    if folder.spec is None:
        return
    if folder.spec.head is None:
        findings.ok("golden", "a judge alone has no golden scores: its scores are in its text")
        return
    if not folder.spec.golden:
        findings.note("golden", "no golden items: the service cannot check its own scores")
        return
    bad = [i for i, item in enumerate(folder.spec.golden) if not _is_png(item)]
    for number in bad:
        findings.problem("golden", f"golden item {number}: its image is not a PNG data URI")
    if not bad:
        findings.ok("golden", f"{len(folder.spec.golden)} golden items")


def _is_png(item: GoldenItem) -> bool:
    head, _, payload = item.image.partition(",")
    if not head.startswith("data:image/png"):
        return False
    try:
        return base64.b64decode(payload, validate=True).startswith(_PNG)
    except (binascii.Error, ValueError):
        return False
