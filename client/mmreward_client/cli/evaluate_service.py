"""The pairs of a benchmark through a running service, each written to the answer file at once.

The benchmark is passed over twice, the first time before anything is sent, and a few rows are in
memory at a time. The service's fingerprint is asked for first and every request is pinned to it: a
model that is exchanged midway ends the command instead of mixing two models in one accuracy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from mmreward_client.cli.batches import run_batches
from mmreward_client.cli.files import report_bad_row
from mmreward_client.cli.progress import progress
from mmreward_client.cli.rows import Row
from mmreward_client.cli.serving import served_by
from mmreward_client.errors import RewardError
from mmreward_client.evaluation.answering import AnswerFile
from mmreward_client.evaluation.questions import Question, QuestionFile
from mmreward_client.evaluation.resuming import Key, Origin
from mmreward_client.schema import PairItem, PairResult
from mmreward_client.sync import RewardClient


@dataclass(frozen=True)
class Through:
    """How the pairs go through the service.

    Attributes:
        sampling: request options as the client takes them.
        request: what of the command line decides about the rewards; part of every answer, beside
            the kind `judge` of a model that is nothing else.
    """

    client: RewardClient
    sampling: dict[str, Any]
    request: dict[str, Any]
    batch_size: int
    concurrency: int

    def origin(self) -> Origin:
        """Who answers.

        Raises:
            RewardError: the service cannot be asked, or does not have the model.
        """
        return served_by(self.client, self.sampling.get("model"), self.request)

    def answer(self, questions: QuestionFile, keys: Collection[Key], output: Path) -> None:
        """Ask for every question that has no answer in `output` yet.

        Args:
            keys: those of all the questions, from an earlier pass.

        Raises:
            RewardError: a request failed as a whole; what was answered until then is in the file.
            InvalidInput: the file holds other answers, or another process is writing it.
            OSError: the file cannot be written.
        """
        origin = self.origin()
        with AnswerFile(output, origin, keys) as answers:
            say_what_was_found(answers)
            try:
                self._ask(questions, len(keys), answers, origin.fingerprint)
            except RewardError:
                typer.echo(
                    f"mmreward: the answers so far are in {output}; the same command goes on "
                    "from there",
                    err=True,
                )
                raise

    def _ask(
        self, questions: QuestionFile, total: int, answers: AnswerFile, fingerprint: str
    ) -> None:
        options = {**self.sampling, "pin": self.client.pin or fingerprint}
        under_way: dict[int, Question] = {}

        def rows() -> Iterator[Row]:
            for question in questions:
                if question.key not in answers.answered:
                    under_way[question.line] = question
                    yield row_of(questions.path, question)

        with progress(questions.path.name, total - len(answers.answered)) as advance:
            for outcome in run_batches(
                rows(),
                lambda items: self.client.pairs(items, **options),
                item_kind=PairItem,
                result_kind=PairResult,
                batch_size=self.batch_size,
                concurrency=self.concurrency,
            ):
                report_bad_row(outcome)
                assert isinstance(outcome.result, PairResult)
                answers.add(under_way.pop(outcome.row.line), outcome.result)
                advance()


def row_of(file: Path, question: Question) -> Row:
    row = Row(file, question.line, question.item)
    return row if question.error is None else row.failed(question.error)


def say_what_was_found(answers: AnswerFile) -> None:
    if answers.answered:
        typer.echo(f"mmreward: {len(answers.answered)} pairs are answered already", err=True)
    if answers.asked_again:
        typer.echo(
            f"mmreward: {answers.asked_again} lines without rewards are asked again", err=True
        )
