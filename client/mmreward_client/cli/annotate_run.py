"""A data set through one service or several: three passes over the data, a few rows in memory.

1. What is asked: every row is read, equal responses are found, and nothing has been sent yet.
2. The scores that are missing: each is in a file beside the output as soon as it is there.
3. The rows with their margins, computed from these files; the output is replaced as a whole.

A kill costs what was under way. The same command goes on from the files of scores; with other
constants of β it scores nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from mmreward_client.annotation.cases import Case, DataSet
from mmreward_client.annotation.margins import Margins, calibration_of
from mmreward_client.annotation.models import MAX_FOLDS, Assignment, Model, row_fields
from mmreward_client.annotation.output import write_rows
from mmreward_client.annotation.scores import ScoreFile, SideScore, read_scores
from mmreward_client.annotation.summary import Tally
from mmreward_client.cli.batches import run_batches
from mmreward_client.cli.progress import progress
from mmreward_client.cli.rows import Row
from mmreward_client.errors import InvalidInput, PinMismatch, RewardError, UnknownModel
from mmreward_client.evaluation.resuming import Origin
from mmreward_client.schema import Beta, ModelCard, ScoreItem, ScoreResult
from mmreward_client.sync import RewardClient

_NAMED_BAD_ROWS = 10
_LINE_EVERY_S = 60.0
_NOT_ASKED = SideScore("internal", None, None, "was not scored")


@dataclass(frozen=True)
class Sending:
    """How responses are scored.

    Attributes:
        sampling: request options as the client takes them.
        reading: what else decides about a score: how videos are sampled.
    """

    sampling: dict[str, Any]
    mode: str
    critiques: int
    reading: dict[str, Any]
    batch_size: int
    concurrency: int

    def request(self) -> dict[str, Any]:
        """What the scores depend on beside the model; the model's name says less than its print."""
        decisive = {name: value for name, value in self.sampling.items() if name != "model"}
        return {**decisive, "mode": self.mode, **self.reading}


@dataclass
class Plan:
    """What is to be asked of each model, and what was found on the way.

    Attributes:
        keys: of the responses that each model scores, in the order of the data.
        sides: of the usable pairs, duplicates and all.
    """

    keys: list[dict[str, None]]
    pairs: int = 0
    sides: int = 0
    trained_on: int = 0
    has_pictures_inside: bool = False
    bad: list[str] = field(default_factory=list)


@dataclass
class Annotation:
    """One run of the command.

    Attributes:
        told: for the summary: what was asked, by whom it was answered, and how.
    """

    data: DataSet
    output: Path
    beta: Beta
    sending: Sending
    assignment: Assignment
    is_ls_factor_wanted: bool = False
    suspects: int = 20
    told: dict[str, Any] = field(default_factory=dict)

    def carry_out(self, clients: Sequence[RewardClient]) -> Tally:
        """Score what is missing and write the output.

        Raises:
            RewardError: a request failed as a whole; the scores until then are in their files.
            PinMismatch: a service has another model than the pinned one, asked or not.
            InvalidInput: the data cannot be read, or holds no pair; files of other scores.
            OSError: a file cannot be read or written.
        """
        # The services first: one that is not there should not cost a pass over the data.
        models = [self._model(place, client) for place, client in enumerate(clients)]
        plan = self._plan()
        self._tell(plan, models)
        with ExitStack() as stack:
            for place, model in enumerate(models):
                file = ScoreFile(model.scores, model.origin, plan.keys[place])
                self._score(place, model, stack.enter_context(file), len(plan.keys[place]))
            return self._write(models)

    def _plan(self) -> Plan:
        plan = Plan([{} for _ in self.assignment.rows])
        for case in self.data:
            choice = self.assignment.of(case)
            plan.pairs += 1
            plan.trained_on += choice.trained_on is True
            plan.has_pictures_inside |= _has_pictures_inside(case)
            if choice.model is None:
                plan.bad.append(choice.error or "")
            elif case.keys is not None:
                plan.sides += 2
                plan.keys[choice.model].update(dict.fromkeys(case.keys))
        for said in plan.bad[:_NAMED_BAD_ROWS]:
            typer.echo(f"mmreward: {said}", err=True)
        if len(plan.bad) > _NAMED_BAD_ROWS:
            more = len(plan.bad) - _NAMED_BAD_ROWS
            typer.echo(f"mmreward: and {more} more; all are `invalid` in the output", err=True)
        if not plan.sides:
            raise InvalidInput(f"{self.data.path} holds no pair that can be scored")
        return plan

    def _model(self, place: int, client: RewardClient) -> Model:
        card = self._card(client)
        _check_pin(client.pin, card)
        calibration = calibration_of(card, self.sending.mode, self.sending.critiques)
        if self.beta.basis == "calibrated" and calibration is None:
            raise InvalidInput(
                f"{card.id} holds no calibration for mode {self.sending.mode} and "
                f"{self.sending.critiques} critiques: --basis calibrated is not possible"
            )
        return Model(
            client,
            Origin(card.provenance.fingerprint, self.sending.request()),
            calibration,
            score_files(self.output)[place if len(self.assignment.rows) == 1 else place + 1],
            self.assignment.rows[place],
        )

    def _card(self, client: RewardClient) -> ModelCard:
        wanted = self.sending.sampling.get("model")
        for card in client.models().data:
            if wanted in (None, card.id):
                if "critique" not in card.kinds:
                    raise InvalidInput(
                        f"{card.id} is a judge, which compares answers and does not score one "
                        "alone: `mmreward pairs` asks it"
                    )
                return card
        raise UnknownModel(f"the service has no model {wanted!r}", status=404, param="model")

    def _tell(self, plan: Plan, models: Sequence[Model]) -> None:
        unique = sum(map(len, plan.keys))
        self.told = {
            "file": str(self.data.path),
            "request": self.sending.request(),
            "fingerprints": [model.origin.fingerprint for model in models],
            "rows_unusable": len(plan.bad),
            "responses": unique,
            "responses_saved_as_duplicates": plan.sides - unique,
        }
        if plan.trained_on:
            typer.echo(
                f"mmreward: warning: {plan.trained_on} of {plan.pairs} pairs are among the rows "
                "that the reward model was trained on: their margins are overfit. Score them with "
                "a checkpoint that did not see them (--fold-url)",
                err=True,
            )
        if plan.has_pictures_inside and not self.data.keeps_pictures:
            typer.echo(
                "mmreward: warning: pictures inside of rows are named in JSON lines by SHA-256 "
                "alone; --output NAME.parquet keeps them",
                err=True,
            )
        if len(models) > 1 and self.beta.basis == "raw":
            typer.echo(
                "mmreward: warning: raw margins of several checkpoints have different units; "
                "--basis calibrated makes them comparable",
                err=True,
            )

    def _score(self, place: int, model: Model, scores: ScoreFile, total: int) -> None:
        if scores.answered:
            typer.echo(f"mmreward: {len(scores.answered)} responses are scored already", err=True)
        options = {**self.sending.sampling}
        options["pin"] = model.client.pin or model.origin.fingerprint
        name = self.data.path.name if place == 0 else f"{self.data.path.name}, model {place}"
        missing = total - len(scores.answered)
        if not missing:
            return
        try:
            with progress(name, missing, line_every_s=_LINE_EVERY_S) as advance:
                for outcome in run_batches(
                    self._missing(place, scores),
                    lambda items: model.client.score(items, **options),
                    item_kind=ScoreItem,
                    result_kind=ScoreResult,
                    batch_size=self.sending.batch_size,
                    concurrency=self.sending.concurrency,
                ):
                    assert isinstance(outcome.result, ScoreResult)
                    scores.add(outcome.result)
                    advance()
        except (RewardError, KeyboardInterrupt):
            typer.echo(
                f"mmreward: the scores so far are in {scores.path}; the same command goes on from "
                "there",
                err=True,
            )
            raise

    def _missing(self, place: int, scores: ScoreFile) -> Iterator[Row]:
        """The responses that have no score yet, each once, in the order of the data."""
        asked: set[str] = set()
        for case in self.data:
            if self.assignment.of(case).model != place:
                continue
            for key, item in self.data.side_items(case):
                if key not in asked and not scores.holds(key):
                    asked.add(key)
                    yield Row(self.data.path, case.line, item)

    def _write(self, models: Sequence[Model]) -> Tally:
        scores = [read_scores(model.scores) for model in models]
        margins = Margins(
            self.beta,
            [model.calibration for model in models],
            [model.origin.fingerprint for model in models],
            self.is_ls_factor_wanted,
        )
        has_rows = any(model.rows is not None for model in models)
        tally = Tally(self.beta, suspects=self.suspects)

        def rows() -> Iterator[dict[str, Any]]:
            for case in self.data:
                choice = self.assignment.of(case)
                if choice.model is None or case.keys is None:
                    fields = margins.unusable(choice.error)
                else:
                    known = scores[choice.model]
                    chosen, rejected = (known.get(key, _NOT_ASKED) for key in case.keys)
                    fields = margins.of(chosen, rejected, choice.model)
                more = row_fields(choice, has_rows=has_rows, has_folds=len(models) > 1)
                row = {**case.row, "line": case.line, **fields, **more}
                tally.add(row, is_tie=case.pair is not None and case.pair.is_tie)
                yield row

        write_rows(self.output, rows(), self.data.path)
        return tally


def _check_pin(pin: str | None, card: ModelCard) -> None:
    """Where every score is there already no request would carry the pin."""
    found = card.provenance.fingerprint
    if pin not in (None, found):
        raise PinMismatch(
            f"{card.id} is of fingerprint {found}, pinned is {pin}", code="pin_mismatch"
        )


def _has_pictures_inside(case: Case) -> bool:
    return case.pair is not None and any(one.content is not None for one in case.pair.images)


def score_files(output: Path) -> list[Path]:
    """Where the scores of an output are: of a single model, then of the models of a fold."""
    names = [".scores.jsonl", *(f".scores.fold{place}.jsonl" for place in range(MAX_FOLDS))]
    return [output.with_name(output.stem + name) for name in names]
