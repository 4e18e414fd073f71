"""All checks of one folder, in one go: what `--check` runs and what an importer asks of its result.

torch is imported only when scores are to be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmreward_service.check.conditions import check_calibration, check_fence, check_golden
from mmreward_service.check.contents import check_contents
from mmreward_service.check.findings import Findings
from mmreward_service.check.folder import Folder, open_folder
from mmreward_service.check.memory import Load, Need, load_of, needs
from mmreward_service.check.pictures import ignored_limit

if TYPE_CHECKING:
    from mmreward_service.settings import Settings


@dataclass(frozen=True)
class Report:
    """Everything that was found out about a folder. `needs` is empty where sizes are unknown."""

    folder: Folder
    findings: Findings
    load: Load | None = None
    needs: list[Need] = field(default_factory=list)
    disk_bytes: int = 0
    parity_error: float | None = None


def check_checkpoint(
    path: Path, settings: Settings, *, parity: bool = False, findings: Findings | None = None
) -> Report:
    """Check a folder against the settings that it would be served with. Raises nothing.

    Args:
        parity: also compute the golden scores with transformers on the CPU, which loads the model.
        findings: what is known to be wrong already, with the settings for instance.
    """
    findings = findings or Findings()
    if not path.is_dir():
        findings.problem("format", f"{path} is not a folder")
        return Report(Folder(path, None, None, None, [], {}), findings)
    folder = open_folder(path, findings, settings.stock_judge)
    check_contents(folder, findings)
    arguments: dict[str, Any] = dict(settings.engine_args)
    check_fence(arguments, findings)
    check_calibration(folder, findings)
    check_golden(folder, findings)
    _check_length(folder, settings, findings)
    _check_dtype(folder, settings.dtype, findings)
    if limit := ignored_limit(folder):
        findings.problem("pictures", limit)
    load = load_of(folder, settings, arguments)
    parity_error = None
    if parity and findings.would_serve:
        from mmreward_service.check.parity import check_parity

        parity_error = check_parity(folder, settings.dtype, settings.parity_tolerance, findings)
    elif parity:
        findings.note("parity", "not checked: there are problems already")
    return Report(
        folder=folder,
        findings=findings,
        load=load,
        needs=needs(folder, load),
        disk_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        parity_error=parity_error,
    )


def _check_length(folder: Folder, settings: Settings, findings: Findings) -> None:
    own = folder.text_setting("max_position_embeddings")
    wanted = settings.max_model_len
    if isinstance(own, int) and wanted is not None and wanted > own:
        findings.problem("length", f"max_model_len {wanted} is beyond the {own} of the model")
    limit = wanted or (own if isinstance(own, int) else None)
    if folder.spec is None or not limit:
        return
    for kind in folder.spec.kinds:
        if (tokens := folder.spec.max_tokens(kind)) >= limit:
            findings.problem(
                "length",
                f"a {kind} of {tokens} tokens leaves no room for a prompt in a length of {limit}",
            )


def _check_dtype(folder: Folder, dtype: str, findings: Findings) -> None:
    """vLLM turns float32 weights into 16 bits under `auto`, which moves scores."""
    stored = sorted({entry.dtype for entry in folder.tensors})
    if not stored:
        return
    text = f"the weights are stored as {', '.join(stored)}"
    if dtype == "auto" and stored == ["F32"]:
        findings.note(
            "dtype", f"{text}: dtype auto serves them in 16 bits on a GPU; dtype float32 does not"
        )
    else:
        findings.ok("dtype", f"{text}, asked for is {dtype}")
