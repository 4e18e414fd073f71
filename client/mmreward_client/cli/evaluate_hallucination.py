"""`mmreward evaluate-hallucination`: CHAIR rates of descriptions, by a vocabulary of objects."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mmreward_client.cli.evaluation_table import interval, share
from mmreward_client.cli.outcome import failures_end_the_command
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.chair import (
    Hallucination,
    Vocabulary,
    measure_hallucination,
    read_vocabulary,
)
from mmreward_client.evaluation.generations import Fields, read_descriptions
from mmreward_client.evaluation.intervals import wilson


def evaluate_hallucination(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Descriptions: JSONL or parquet.")],
    vocabulary: Annotated[
        Path, typer.Option(help="Objects, one a line: its name, then synonyms after commas.")
    ],
    response_field: Annotated[str, typer.Option(help="Column of the description.")] = "response",
    present_field: Annotated[
        str, typer.Option(help="Column of the objects that are there.")
    ] = "present",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, no text.")] = False,
) -> None:
    words = read_words(vocabulary)
    fields = Fields(response=response_field, present=present_field)
    try:
        with failures_end_the_command():
            found = report(measure(file, fields, words))
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None
    if not found["responses"]:
        raise typer.BadParameter(f"{file} holds no rows", param_hint="FILE")
    if as_json:
        typer.echo(json.dumps(found, allow_nan=False))
    else:
        say(found)


def read_words(path: Path) -> Vocabulary:
    try:
        return read_vocabulary(path)
    except InvalidInput as error:
        raise typer.BadParameter(str(error), param_hint="--vocabulary") from None
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--vocabulary") from None


def measure(file: Path, fields: Fields, vocabulary: Vocabulary) -> Hallucination:
    """The counts of a file, one row at a time.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: a row is none, or names an object that is not in the vocabulary.
    """
    total = measure_hallucination([], vocabulary)
    for where, description in read_descriptions(file, fields):
        try:
            one = measure_hallucination([description], vocabulary)
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {fields.present}: {error}") from None
        total = Hallucination(
            **{name: count + getattr(one, name) for name, count in asdict(total).items()}
        )
    return total


def report(found: Hallucination) -> dict[str, Any]:
    """Counts and rates, ready for JSON; a rate without a denominator is None."""
    ends = wilson(found.responses_with_false_objects, found.responses_with_objects)
    return {
        **asdict(found),
        "response_rate": found.response_rate,
        "response_rate_ci95": None if ends is None else list(ends),
        "mention_rate": found.mention_rate,
        "sentence_rate": found.sentence_rate,
        "recall": found.recall,
    }


def say(found: dict[str, Any]) -> None:
    lines = [
        f"{found['responses']} responses, {found['responses_with_objects']} of them name objects",
        f"response rate  {share(found['response_rate'])} "
        f"{interval(found['response_rate_ci95'], '[]')}  "
        f"{found['responses_with_false_objects']} responses with an object that is not there",
        f"mention rate   {share(found['mention_rate'])}  "
        f"{found['false_mentions']} of {found['mentions']} mentions",
        f"sentence rate  {share(found['sentence_rate'])}  over all responses (CHAIRs)",
        f"recall         {share(found['recall'])}  "
        f"{found['present_and_named']} of {found['present']} objects that are there are named",
    ]
    console = Console()
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
