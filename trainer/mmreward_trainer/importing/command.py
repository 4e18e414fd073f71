"""`mmreward-train import`: prepare, write, score the golden items, check the result.

The folder holds `import_record.json` from its first moment on: what was asked for, of which files.
With `--resume` the same import goes on, and shards that are whole are kept.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import mmreward_service
from mmreward_service.check.report import check_checkpoint
from mmreward_service.reward.checkpoint import load_spec
from mmreward_service.reward.spec import RewardSpec
from mmreward_service.settings import Settings

from mmreward_trainer.golden import QUESTIONS, GoldenError, golden_items
from mmreward_trainer.importing.conversion import Conversion, Wishes, prepare
from mmreward_trainer.importing.refusal import ImportRefused
from mmreward_trainer.importing.table import print_conversion
from mmreward_trainer.importing.writer import write_shards

RECORD_FILE = "import_record.json"
_KEPT_FILES = ("generation_config.json", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE")


def run_import(
    wishes: Wishes, output: Path, *, dry_run: bool, resume: bool, golden_dtype: str | None
) -> int:
    """Exit code: 0 written (or shown), 1 refused, or written and found not to serve.

    Args:
        golden_dtype: torch type to score the golden items in; None leaves them out.
    """
    try:
        conversion = prepare(wishes, mmreward_service.__version__)
        print_conversion(conversion)
        if dry_run:
            return 0
        _begin(conversion, output, resume=resume)
        _write(conversion, output, golden_dtype)
    except ImportRefused as error:
        for reason in error.reasons:
            print(f"mmreward-train import: {reason}", file=sys.stderr)
        return 1
    except GoldenError as error:
        print(f"mmreward-train import: {error}", file=sys.stderr)
        return 1
    report = check_checkpoint(output, Settings.model_construct(checkpoint=output))
    for finding in report.findings.problems:
        print(f"mmreward-train import: {finding.topic}: {finding.text}", file=sys.stderr)
    if report.findings.would_serve:
        print(f"written: {output}")
    return 0 if report.findings.would_serve else 1


def _begin(conversion: Conversion, output: Path, *, resume: bool) -> None:
    """Make the folder, or find in it the same import, begun earlier."""
    record = _record(conversion)
    file = output / RECORD_FILE
    if output.resolve() == conversion.source.folder.resolve():
        raise ImportRefused("OUTPUT is the source itself: it is never written to")
    if output.exists() and any(output.iterdir()):
        if not resume:
            raise ImportRefused(f"{output} is not empty; --resume goes on with the same import")
        if not file.is_file() or json.loads(file.read_text(encoding="utf-8")) != record:
            raise ImportRefused(
                f"{output} does not hold the beginning of this import: choose another folder"
            )
    output.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _record(conversion: Conversion) -> dict[str, Any]:
    """The resolved import: enough to tell it from any other."""
    files = {file.name: file.stat() for file in conversion.source.files}
    return {
        **conversion.config["imported"],
        "files": [
            {"name": name, "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
            for name, stat in files.items()
        ],
        "reward": conversion.spec.model_dump(mode="json"),
        "tensors": [
            {"source": move.source.name, "target": move.target, "remark": move.remark}
            for move in conversion.tensors.moves
        ],
    }


def _write(conversion: Conversion, output: Path, golden_dtype: str | None) -> None:
    from rich.progress import Progress

    total = sum(t.size_bytes for shard in conversion.tensors.shards for t in shard)
    _copy_texts(conversion, output)
    with Progress(transient=True) as bar:
        copying = bar.add_task("copying weights", total=total)
        write_shards(conversion.tensors.shards, output, lambda count: bar.advance(copying, count))
        _write_config(conversion, output, conversion.spec)
        if golden_dtype is None:
            return
        scoring = bar.add_task("scoring golden items", total=len(QUESTIONS))
        items = golden_items(
            output,
            critiques=conversion.writes_critiques,
            dtype=golden_dtype,
            progress=lambda count: bar.advance(scoring, count),
        )
    _write_config(conversion, output, conversion.spec.model_copy(update={"golden": items}))


def _copy_texts(conversion: Conversion, output: Path) -> None:
    """Processor and tokenizer by transformers, so that tokenizer.json is there whatever the source
    had; a few plain files as they are."""
    conversion.processor.save_pretrained(output)
    conversion.tokenizer.save_pretrained(output)
    for name in _KEPT_FILES:
        if (conversion.source.folder / name).is_file():
            shutil.copyfile(conversion.source.folder / name, output / name)


def _write_config(conversion: Conversion, output: Path, spec: RewardSpec) -> None:
    config = {**conversion.config, "reward": spec.model_dump(mode="json")}
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (output / "config.json").write_text(text, encoding="utf-8")
    load_spec(output)
