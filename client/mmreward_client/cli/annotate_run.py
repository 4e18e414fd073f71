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

from mmreward_client.annotation.asking import AnswerFile, Asking
from mmreward_client.annotation.cases import DataSet
from mmreward_client.annotation.margins import ORDERS, Margins, calibration_of
from mmreward_client.annotation.models import MAX_FOLDS, Assignment, Model, row_fields
from mmreward_client.annotation.output import write_rows
from mmreward_client.annotation.summary import Tally
from mmreward_client.cli.annotate_plan import Plan, is_partly_known, plan_of, warn_of
from mmreward_client.cli.batches import run_batches
from mmreward_client.cli.progress import progress
from mmreward_client.cli.rows import Row
from mmreward_client.errors import InvalidInput, PinMismatch, RewardError, UnknownModel
from mmreward_client.evaluation.resuming import Origin
from mmreward_client.schema import Beta, ModelCard
from mmreward_client.sync import RewardClient

_LINE_EVERY_S = 60.0


@dataclass(frozen=True)
class Sending:
    """How responses are scored.

    Attributes:
        asking: one by one, or compared in groups.
        sampling: request options as the client takes them.
        reading: what else decides about a score: how videos are sampled.
    """

    asking: Asking
    sampling: dict[str, Any]
    mode: str
    critiques: int
    reading: dict[str, Any]
    batch_size: int
    concurrency: int

    def request(self) -> dict[str, Any]:
        """What the scores depend on beside the model; the model's name says less than its print."""
        decisive = {name: value for name, value in self.sampling.items() if name != "model"}
        return {**decisive, "mode": self.mode, **self.asking.request, **self.reading}


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
        plan = plan_of(self.data, self.assignment, self.beta)
        self._tell(plan, models)
        with ExitStack() as stack:
            for place, model in enumerate(models):
                file = self.sending.asking.file(model.scores, model.origin, plan.keys[place])
                stack.enter_context(file)
                self._score(place, model, file, len(plan.keys[place]))
            return self._write(models)

    def _model(self, place: int, client: RewardClient) -> Model:
        sending = self.sending
        card = served_card(client, sending.sampling.get("model"))
        kind = sending.asking.kind
        if kind not in card.kinds:
            raise InvalidInput(f"{card.id} is {' and '.join(card.kinds)}, not {kind}: see --kind")
        _check_pin(client.pin, card)
        calibration = calibration_of(card, sending.mode, sending.critiques, kind)
        if self.beta.basis == "calibrated" and calibration is None:
            raise InvalidInput(
                f"{card.id} holds no calibration for mode {sending.mode} and "
                f"{sending.critiques} critiques: --basis calibrated is not possible"
            )
        return Model(
            client,
            Origin(card.provenance.fingerprint, self.sending.request()),
            calibration,
            score_files(self.output)[place if len(self.assignment.rows) == 1 else place + 1],
            self.assignment.rows[place],
        )

    def _tell(self, plan: Plan, models: Sequence[Model]) -> None:
        unique = sum(map(len, plan.keys))
        unit = self.sending.asking.unit
        self.told = {
            "file": str(self.data.path),
            "kind": self.sending.asking.kind,
            "request": self.sending.request(),
            "fingerprints": [model.origin.fingerprint for model in models],
            "rows_unusable": len(plan.bad),
            "trained_rows_partly_known": any(map(is_partly_known, self.assignment.rows)),
            unit: unique,
            f"{unit}_saved_as_duplicates": plan.asked - unique,
        }
        warn_of(plan, self.data, self.assignment, self.beta)

    def _score(self, place: int, model: Model, scores: AnswerFile, total: int) -> None:
        if scores.answered:
            told = f"{len(scores.answered)} {self.sending.asking.unit}"
            typer.echo(f"mmreward: {told} are scored already", err=True)
        asking = self.sending.asking
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
                    lambda items: asking.ask(model.client, items, options),
                    item_kind=asking.item_kind,
                    result_kind=asking.result_kind,
                    batch_size=self.sending.batch_size,
                    concurrency=self.sending.concurrency,
                ):
                    scores.add(outcome.result)
                    advance()
        except (RewardError, KeyboardInterrupt):
            typer.echo(
                f"mmreward: the scores so far are in {scores.path}; the same command goes on from "
                "there",
                err=True,
            )
            raise

    def _missing(self, place: int, scores: AnswerFile) -> Iterator[Row]:
        """What has no answer yet, each once, in the order of the data."""
        asked: set[str] = set()
        for case in self.data:
            if self.assignment.of(case).model != place:
                continue
            for key, item in self.data.items(case):
                if key not in asked and not scores.holds(key):
                    asked.add(key)
                    yield Row(self.data.path, case.line, item)

    def _write(self, models: Sequence[Model]) -> Tally:
        asking = self.sending.asking
        scores = [asking.read(model.scores) for model in models]
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
                orders: list[float] | None = None
                if choice.model is None or case.keys is None:
                    fields = margins.unusable(choice.error)
                else:
                    sides = asking.sides(case, scores[choice.model])
                    fields = margins.of(
                        sides.chosen,
                        sides.rejected,
                        choice.model,
                        is_calibrated=sides.is_calibrated,
                    )
                    orders = sides.orders
                if asking.kind == "judge":
                    fields[ORDERS] = orders if fields["delta"] is not None else None
                more = row_fields(choice, has_rows=has_rows, has_folds=len(models) > 1)
                row = {**case.row, "line": case.line, **fields, **more}
                tally.add(row, is_tie=case.pair is not None and case.pair.is_tie)
                yield row

        write_rows(self.output, rows(), self.data.path)
        return tally


def served_card(client: RewardClient, model: str | None) -> ModelCard:
    """The model that answers.

    Raises:
        RewardError: the service cannot be asked, or does not have it.
    """
    for card in client.models().data:
        if model in (None, card.id):
            return card
    raise UnknownModel(f"the service has no model {model!r}", status=404, param="model")


def _check_pin(pin: str | None, card: ModelCard) -> None:
    """Where every score is there already no request would carry the pin."""
    found = card.provenance.fingerprint
    if pin not in (None, found):
        raise PinMismatch(
            f"{card.id} is of fingerprint {found}, pinned is {pin}", code="pin_mismatch"
        )


def score_files(output: Path) -> list[Path]:
    """Where the scores of an output are: of a single model, then of the models of a fold."""
    names = [".scores.jsonl", *(f".scores.fold{place}.jsonl" for place in range(MAX_FOLDS))]
    return [output.with_name(output.stem + name) for name in names]
