"""The pairs file: the rows as they were, with expanded reasons and the original ones beside them.

    {..., "chosen_reason": "<expanded>", "rejected_reason": "<expanded>",
     "chosen_reason_original": "...", "rejected_reason_original": "...",
     "expansion": {"chosen": "ok", "rejected": "truncated", "model": "...",
                   "settings_sha256": "..."}}

`read_pairs` and, where it was one, `read_mm_rlhf` read it back. A side without a reason has null in
`expansion`; a row without any passes through without the new columns. A side whose expansion failed
meets the policy: `error` writes no file, `keep-original` leaves the annotator's reason in its place
(`expansion` names the failure), `drop` leaves the row out. All of them are counted.

The file appears when it is complete. While requests are open, the rows that are finished go into a
file with `.partial` in its name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from mmreward_client.file_replacement import replacing

from mmreward_trainer.expansion.errors import FailedExpansions
from mmreward_trainer.expansion.journal import Journal
from mmreward_trainer.expansion.pictures import References
from mmreward_trainer.expansion.replies import ANSWERED
from mmreward_trainer.expansion.requests import SIDES, requests_of
from mmreward_trainer.expansion.rows import MEDIA
from mmreward_trainer.expansion.settings import Settings
from mmreward_trainer.expansion.source import RowPair, Source, row_pairs

OnFailure = Literal["keep-original", "drop", "error"]
POLICIES: tuple[OnFailure, ...] = get_args(OnFailure)

_OPEN = "open"


@dataclass
class Written:
    """The account of a written file: `rows = pairs read - rows_dropped - rows_open`.

    Attributes:
        rows: rows in the file.
        rows_without_reasons: of these, passed through unchanged.
        expanded, kept_original: sides (reasons) with an expansion, and with the original one.
        rows_dropped: left out because of a failure, under the policy `drop`.
        rows_open: left out because a request of theirs has not been answered yet.
        failures: sides whose expansion failed, by status.
        image_root: the folder that references to pictures start from.
    """

    path: Path | None = None
    rows: int = 0
    rows_without_reasons: int = 0
    expanded: int = 0
    kept_original: int = 0
    rows_dropped: int = 0
    rows_open: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    image_root: Path | None = None
    pictures_written: int = 0

    def resolved(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        plain = dict(vars(self))
        plain["failures"] = dict(self.failures)
        for name in ("path", "image_root"):
            plain[name] = None if plain[name] is None else str(plain[name])
        return plain


@dataclass(frozen=True)
class _Outcome:
    """Of one reason: a status, or `open`; the text exactly if the status is `ok`."""

    status: str
    text: str | None


@dataclass(frozen=True)
class Writer:
    """Writes the rows of a source with what the journal has for them."""

    source: Source
    settings: Settings
    journal: Journal
    on_failure: OnFailure

    def write(self, output: Path, *, is_complete: bool) -> Written:
        """Write `output`, or the finished rows into a partial file beside it.

        Args:
            is_complete: every request has been sent; what has no answer then has failed.

        Raises:
            FailedExpansions: under the policy `error`, after all were counted; no file is written.
            InvalidInput, OSError: the source, or pictures from two folders.
        """
        path = output if is_complete else partial(output)
        done = Written(path)
        references = References(output, self.source.image_root)
        with replacing(path) as file:
            for pair in row_pairs(self.source.reader()):
                self._write_row(pair, file, done, references, is_complete)
            done.image_root, done.pictures_written = references.root, references.written
            if self.on_failure == "error" and is_complete:
                _refuse_failures(done)
        return done

    def _write_row(
        self,
        pair: RowPair,
        file: BinaryIO,
        done: Written,
        references: References,
        is_complete: bool,
    ) -> None:
        outcomes = self._outcomes(pair, is_complete)
        statuses = [one.status for one in outcomes.values()]
        if _OPEN in statuses:
            done.rows_open += 1
            return
        failures = [status for status in statuses if status != "ok"]
        done.failures.update(failures)
        if failures and self.on_failure != "keep-original":
            done.rows_dropped += 1
            return
        row = self._row(pair, outcomes, references)
        done.rows += 1
        done.rows_without_reasons += not outcomes
        done.expanded += sum(one.text is not None for one in outcomes.values())
        done.kept_original += len(failures)
        file.write(_line(row).encode("utf-8"))

    def _outcomes(self, pair: RowPair, is_complete: bool) -> dict[str, _Outcome]:
        """What came of each reason of the pair, by its side."""
        return {
            one.side: _Outcome(self._status(one.key, is_complete), self.journal.text(one.key))
            for one in requests_of(pair, self.settings)
        }

    def _row(
        self, pair: RowPair, outcomes: Mapping[str, _Outcome], references: References
    ) -> dict[str, Any]:
        where = str(pair.where)
        row = {
            name: references.of(value, where) if name in MEDIA else value
            for name, value in pair.row.items()
        }
        if not outcomes:
            return row
        for side in SIDES:
            row[f"{side}_reason_original"] = row.get(f"{side}_reason")
            if side in outcomes and outcomes[side].text is not None:
                row[f"{side}_reason"] = outcomes[side].text
        row["expansion"] = {
            **{side: outcomes[side].status if side in outcomes else None for side in SIDES},
            "model": self.settings.model,
            "settings_sha256": self.settings.sha256,
        }
        return row

    def _status(self, key: str, is_complete: bool) -> str:
        entry = self.journal.entries.get(key)
        if entry is not None and (is_complete or entry.status == "ok" or entry.status in ANSWERED):
            return entry.status
        return _OPEN


def partial(output: Path) -> Path:
    """Where finished rows go while others are open: `pairs.jsonl`, `pairs.partial.jsonl`."""
    return output.with_name(f"{output.stem}.partial{output.suffix}")


def _line(row: Mapping[str, Any]) -> str:
    """Readable text, but for half surrogate pairs, which UTF-8 cannot hold and JSON can."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(row)
    return line + "\n"


def _refuse_failures(done: Written) -> None:
    """Leaves the file unwritten, as everything raised while it is."""
    failed = sum(done.failures.values())
    if failed:
        named = ", ".join(f"{count} {status}" for status, count in done.failures.most_common())
        raise FailedExpansions(
            f"{failed} expansions failed ({named}), and --on-failure is error: no file was "
            "written; with keep-original or drop it is, from the replies that are there"
        )
