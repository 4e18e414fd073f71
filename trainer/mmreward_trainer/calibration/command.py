"""What `mmreward-train calibrate` does: overlap first, then answers, fits, report, config.json.

The overlap with the training rows is looked up before anything is asked of a service. Answers go
through the evaluation's answer files in the report folder, so that the same command goes on after
an interruption. Nothing is written to the checkpoint before every fit is done.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmreward_client import RewardClient
from mmreward_client.cli.evaluate_service import Through
from mmreward_client.data import ReadOptions
from mmreward_client.data.forms import columns_of
from mmreward_client.errors import RewardError
from mmreward_client.evaluation.questions import QuestionFile
from mmreward_client.evaluation.resuming import Key
from mmreward_service.reward.checkpoint import CheckpointError, load_spec, weights_fingerprint
from mmreward_service.reward.spec import Calibration, Kind, Mode, RewardSpec
from rich.console import Console

from mmreward_trainer.calibration.fitting import Choice, Fit, fit
from mmreward_trainer.calibration.margins import Margins, read_margins
from mmreward_trainer.calibration.reporting import Report, draw_report, way, write_report
from mmreward_trainer.calibration.temperature import CalibrationError
from mmreward_trainer.calibration.validation import ValidationRow, read_validation
from mmreward_trainer.calibration.writing import replace_calibrations
from mmreward_trainer.training_rows import (
    EARLIER,
    TrainingRowsError,
    TrainingRowsUnknown,
    holds,
    read_training_rows,
)

_SHOWN_PLACES = 5
_ROWS_PER_SIGN = 100


@dataclass(frozen=True)
class Settings:
    """The resolved configuration: everything that decides about the result, and no key.

    Attributes:
        answers: answer files; empty: ask `url`.
        form, columns, split: what `pairs` holds, see `mmreward_client.data.forms`.
        critiques: one fit for each K; with answer files at most one, where they do not say it.
        unchecked: go on where it cannot be told whether pairs were trained on, or what is served.
    """

    checkpoint: Path
    pairs: Path
    answers: tuple[Path, ...]
    url: str | None
    mode: Mode | None
    critiques: tuple[int, ...]
    form: str | None
    columns: tuple[str, ...]
    split: str | None
    kind: Kind
    choice: Choice
    report: Path
    image_root: Path | None
    frames: int
    fps: float
    seed: int
    dry_run: bool
    unchecked: bool
    batch_size: int
    concurrency: int
    timeout_s: float

    def questions(self) -> QuestionFile:
        """The validation pairs as the evaluation reads them.

        Raises:
            InvalidInput: columns that no pair has.
        """
        options = ReadOptions(
            image_root=self.image_root, max_frames=self.frames, source_fps=self.fps
        )
        columns = columns_of(*self.columns) if self.columns else None
        # The mode decides about the critiques that are sent, and about no key.
        mode = self.mode or "generate"
        return QuestionFile(self.pairs, options, mode, self.form, columns, self.split)

    def shown(self) -> dict[str, Any]:
        """As JSON holds it; of an address, no user and no password."""
        shown = {name: _plain(value) for name, value in asdict(self).items()}
        if self.url is not None:
            parts = urlsplit(self.url)
            shown["url"] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return shown


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


class Refused(Exception):
    """The run ends here; the message says why."""


def run_calibrate(settings: Settings, api_key: str | None) -> int:
    """Exit code of the command: 0 done, 1 failed or one way of scoring refused."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        return _run(settings, api_key, console)
    except (Refused, CheckpointError, TrainingRowsError, RewardError, OSError) as error:
        console.print(f"mmreward-train: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; the same command goes on with the answers there are.")
        return 1


def _run(settings: Settings, api_key: str | None, console: Console) -> int:
    spec = load_spec(settings.checkpoint)
    if settings.kind not in spec.kinds:
        raise Refused(f"{settings.checkpoint} is no {settings.kind}: its kinds are {spec.kinds}")
    questions = settings.questions()
    rows = _read(questions, console)
    notes = _unusable(rows)
    checked = _check_overlap(settings, spec, rows, notes)
    settings.report.mkdir(parents=True, exist_ok=True)
    if settings.answers:
        notes.append("whether this checkpoint gave the answers was not checked")
        listed = settings.answers
    else:
        listed = _ask(settings, api_key, questions, {row.key for row in rows}, notes)
    fits, refused = _fits(settings, spec, _margins(settings, rows, listed), checked)
    report = Report(settings.shown(), fits, refused, notes, written=False)
    # The report first: a picture that cannot be drawn must not leave a calibration without one.
    draw_report(report, settings.report)
    write_report(report, settings.report)
    if fits and not settings.dry_run:
        replace_calibrations(settings.checkpoint, [one.calibration for one in fits])
        write_report(replace(report, written=True), settings.report)
    _say(settings, fits, refused, notes, console)
    return 1 if refused else 0


def _read(questions: QuestionFile, console: Console) -> list[ValidationRow]:
    """All rows; each picture is read for its fingerprint, which takes its time."""
    rows: list[ValidationRow] = []
    with console.status(f"{questions.path}") as status:
        for row in read_validation(questions):
            rows.append(row)
            if len(rows) % _ROWS_PER_SIGN == 0:
                status.update(f"{questions.path}: {len(rows)} rows, pictures included")
    if not rows:
        raise Refused(f"{questions.path} holds no rows")
    return rows


def _unusable(rows: list[ValidationRow]) -> list[str]:
    broken = [row for row in rows if row.error is not None]
    if not broken:
        return []
    first = "; ".join(f"{row.where}: {row.error}" for row in broken[:_SHOWN_PLACES])
    return [f"{len(broken)} of {len(rows)} rows cannot be used: {first}"]


def _check_overlap(
    settings: Settings, spec: RewardSpec, rows: list[ValidationRow], notes: list[str]
) -> bool:
    """Whether no pair was trained on: looked up, or unknown and accepted so.

    Raises:
        Refused: pairs that were trained on, or an overlap that cannot be looked up.
    """
    usable = [row for row in rows if row.error is None]
    try:
        known = read_training_rows(settings.checkpoint, spec)
    except TrainingRowsUnknown as error:
        if not settings.unchecked:
            raise Refused(
                f"{error}: whether these pairs were trained on cannot be told; --unchecked goes "
                "on, and the calibration says so"
            ) from error
        notes.append("whether these pairs were trained on was not checked")
        return False
    found = [row for row in usable if holds(known, row.fingerprint)]
    if found:
        raise Refused(_told(found, len(usable)))
    if EARLIER in spec.training_rows:
        if not settings.unchecked:
            raise Refused(
                f"{settings.checkpoint}/config.json does not list all training rows: the model was "
                "trained from one whose rows are unknown. Whether these pairs were trained on "
                "cannot be told; --unchecked goes on, and the calibration says so"
            )
        notes.append(
            "whether these pairs were trained on was checked in part: rows of an earlier training "
            "are unknown"
        )
        return False
    return True


def _told(found: list[ValidationRow], total: int) -> str:
    places = ", ".join(str(row.where) for row in found[:_SHOWN_PLACES])
    more = f" and {len(found) - _SHOWN_PLACES} more" if len(found) > _SHOWN_PLACES else ""
    return f"{len(found)} of {total} pairs were trained on: {places}{more}"


def _ask(
    settings: Settings,
    api_key: str | None,
    questions: QuestionFile,
    keys: Collection[Key],
    notes: list[str],
) -> tuple[Path, ...]:
    """An answer file for each K, in the report folder; those that are there are gone on with."""
    assert settings.url is not None
    files = []
    with RewardClient(
        settings.url,
        api_key=api_key,
        timeout_s=settings.timeout_s,
        max_connections=settings.concurrency,
    ) as client:
        _check_weights(settings, client, notes)
        for critiques in settings.critiques:
            sampling: dict[str, Any] = {"critiques": critiques, "seed": settings.seed}
            if settings.kind == "judge":
                sampling["kind"] = settings.kind
            request = {**sampling, "mode": settings.mode}
            request |= {"frames": settings.frames, "fps": settings.fps}
            through = Through(client, sampling, request, settings.batch_size, settings.concurrency)
            name = "answers" if settings.kind == "critique" else f"answers-{settings.kind}"
            path = settings.report / f"{name}-{settings.mode}-{critiques}.jsonl"
            through.answer(questions, keys, path)
            files.append(path)
    return tuple(files)


def _check_weights(settings: Settings, client: RewardClient, notes: list[str]) -> None:
    """The service must serve this checkpoint: another one's margins are in another unit."""
    served = getattr(client.models().data[0].provenance, "weights_sha256", None)
    if served is None and settings.unchecked:
        notes.append("whether the service serves this checkpoint was not checked")
    elif served is None:
        raise Refused(f"{settings.url} does not tell which weights it serves; --unchecked goes on")
    elif served != weights_fingerprint(settings.checkpoint):
        raise Refused(f"{settings.url} serves other weights than {settings.checkpoint}")


def _margins(
    settings: Settings, rows: list[ValidationRow], listed: tuple[Path, ...]
) -> list[Margins]:
    critiques = settings.critiques[0] if settings.answers and settings.critiques else None
    found: dict[tuple[Mode, int], Margins] = {}
    for path in listed:
        one = read_margins(path, rows, mode=settings.mode, critiques=critiques, kind=settings.kind)
        if (key := (one.mode, one.critiques)) in found:
            raise Refused(
                f"{path} and {found[key].answers} are both {one.mode}, K = {one.critiques}"
            )
        found[key] = one
    return list(found.values())


def _fits(
    settings: Settings, spec: RewardSpec, listed: list[Margins], checked: bool
) -> tuple[list[Fit], dict[str, str]]:
    held = {one.key: one for one in spec.calibration}
    fits: list[Fit] = []
    refused: dict[str, str] = {}
    for margins in listed:
        try:
            fits.append(
                fit(
                    margins,
                    kind=settings.kind,
                    choice=settings.choice,
                    replaced=held.get((settings.kind, margins.mode, margins.critiques)),
                    overlap_checked=checked,
                    seed=settings.seed,
                )
            )
        except CalibrationError as error:
            refused[f"{margins.mode}, K = {margins.critiques}"] = str(error)
    return fits, refused


def _say(
    settings: Settings, fits: list[Fit], refused: dict[str, str], notes: list[str], console: Console
) -> None:
    for one in fits:
        old = "new" if one.replaced is None else f"replaces {_short(one.replaced)}"
        console.print(
            f"{way(one.calibration)}: {_short(one.calibration)}, {one.calibration.errors} errors "
            f"in {one.calibration.pairs} pairs; {old}",
            markup=False,
        )
        console.print(
            f"  held out: ECE {one.overall.before.ece:.4f} -> {one.overall.after.ece:.4f} "
            f"({one.overall.after.ece_if_perfect:.4f} if perfect), log loss "
            f"{one.overall.before.log_loss:.4f} -> {one.overall.after.log_loss:.4f}",
            markup=False,
        )
    for name, reason in refused.items():
        console.print(f"{name}: refused: {reason}", markup=False)
    for note in notes:
        console.print(f"note: {note}", markup=False)
    if fits and settings.dry_run:
        console.print("Dry run: config.json is as it was.")
    elif fits:
        console.print(
            "Written to config.json. A running service reads it at its next start; a model card "
            "is renewed by `mmreward-train card`.",
            markup=False,
        )
    console.print(f"Report: {settings.report / 'report.md'}", markup=False)


def _short(calibration: Calibration) -> str:
    low, high = calibration.interval_95
    knots = "" if calibration.knots is None else f"isotonic, {len(calibration.knots)} knots, "
    return f"{knots}temperature {calibration.temperature:g} [{low:g}, {high:g}]"
