"""`mmreward evaluate`: how good a reward model is, from an answer file or through a service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mmreward_client.cli import data_options as d
from mmreward_client.cli import evaluation_table
from mmreward_client.cli import options as o
from mmreward_client.cli.evaluate_service import Through
from mmreward_client.cli.outcome import failures_end_the_command, finish
from mmreward_client.config import DEFAULT_TIMEOUT_S, DEFAULT_URL
from mmreward_client.data.columns import Columns
from mmreward_client.data.forms import build_of, columns_of
from mmreward_client.data.options import ReadOptions
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.answers import read_answers
from mmreward_client.evaluation.benchmarks import BENCHMARKS, Benchmark, recognise
from mmreward_client.evaluation.judged import Judged
from mmreward_client.evaluation.questions import QuestionFile
from mmreward_client.evaluation.report import report
from mmreward_client.evaluation.resuming import Key

_BENCHMARK_OF_FORM: dict[str, Benchmark] = {
    "mm-rlhf-rewardbench": "mm-rlhf",
    "vl-rewardbench": "vl",
}


def evaluate(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Benchmark rows, scored through the service: JSONL, parquet, or a folder saved "
            "by `datasets`.",
            show_default=False,
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="Score nothing: rows with `rewards: \\[chosen, rejected]`, null where failed.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Answer file, gone on with if it is there. Default: FILE's name with "
            ".answers.jsonl, in the working directory.",
            show_default=False,
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="mm-rlhf, vl or pairs. Default: what the rows look like.", show_default=False
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            help="What FILE holds: pairs, mm-rlhf, mm-rlhf-rewardbench, vl-rewardbench or rlhf-v. "
            "Default: MM-RLHF's columns, with media or without.",
            show_default=False,
        ),
    ] = None,
    column: d.Column = None,
    split: d.Split = None,
    image_root: d.ImageRoot = None,
    frames: d.FramesOfFolder = 16,
    fps: d.FramesPerSecond = 1.0,
    kind: o.Kind = None,
    mode: o.Mode = "generate",
    critiques: o.Critiques = 1,
    temperature: o.Temperature = None,
    seed: o.Seed = None,
    max_critique_tokens: o.MaxCritiqueTokens = None,
    model: o.Model = None,
    pin: o.Pin = None,
    url: o.Url = DEFAULT_URL,
    api_key: o.ApiKey = None,
    timeout_s: o.TimeoutS = DEFAULT_TIMEOUT_S,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, no table.")] = False,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the figures.", show_default=False)
    ] = None,
    batch_size: o.BatchSize = 16,
    concurrency: o.Concurrency = 4,
    strict: o.Strict = False,
) -> None:
    rules = check_benchmark(benchmark)
    if (file is None) == (answers is None):
        raise typer.BadParameter("give either FILE or --answers")
    if file is not None:
        o.check_kind(kind, mode)
        check_output(output)
        sampling = o.Sampling(critiques, temperature, seed, max_critique_tokens, model).options()
        if kind is not None:
            sampling["kind"] = kind
        d.check_image_root(image_root)
        pictures = ReadOptions(image_root=image_root, max_frames=frames, source_fps=fps)
        questions = QuestionFile(file, pictures, mode, form, columns(column, form), split)
        keys = check_file(questions)
        answers = output or Path(f"{file.stem}.answers.jsonl")
        # Not the model: its fingerprint says more. Nor a kind that is the usual one.
        usual = {("model", model), ("kind", "critique")}
        decisive = {name: value for name, value in sampling.items() if (name, value) not in usual}
        request = {**decisive, "mode": mode, "frames": frames, "fps": fps}
        client = o.make_client(url, api_key, timeout_s, pin, concurrency)
        through = Through(client, sampling, request, batch_size, concurrency)
        try:
            with failures_end_the_command(), client:
                through.answer(questions, keys, answers)
        except OSError as error:
            typer.echo(f"mmreward: {answers}: {error.strerror}", err=True)
            raise typer.Exit(1) from error
    assert answers is not None
    pairs = read(answers)
    say(pairs, rules or _BENCHMARK_OF_FORM.get(form or "") or recognise(pairs), as_json=as_json)
    if plots is not None:
        draw(pairs, plots)
    finish([pair.status for pair in pairs], strict=strict)


def check_benchmark(name: str | None) -> Benchmark | None:
    for known in BENCHMARKS:
        if name == known:
            return known
    if name is not None:
        raise typer.BadParameter(
            f"{name!r} is none of {', '.join(BENCHMARKS)}", param_hint="--benchmark"
        )
    return None


def check_output(output: Path | None) -> None:
    if output is not None and not output.parent.is_dir():
        raise typer.BadParameter(f"{output.parent} is no folder", param_hint="--output")


def columns(named: list[str] | None, form: str | None) -> Columns | None:
    """The columns that were named, for a form that takes them."""
    try:
        found = columns_of(*named) if named else None
        if found is not None and form is None:
            raise InvalidInput("columns are named for --form pairs")
        if form is not None:
            build_of(form, found)
    except InvalidInput as error:
        raise typer.BadParameter(str(error), param_hint="--form, --column") from None
    return found


def check_file(questions: QuestionFile) -> set[Key]:
    """All rows before anything is sent: a damaged file is told of before it has cost anything."""
    try:
        with failures_end_the_command():
            keys = {question.key for question in questions}
    except OSError as error:
        raise typer.BadParameter(f"{questions.path}: {error.strerror}", param_hint="FILE") from None
    if not keys:
        raise typer.BadParameter(f"{questions.path} holds no rows", param_hint="FILE")
    return keys


def read(path: Path) -> list[Judged]:
    """The pairs of an answer file; no such file is wrong usage, a bad row a failure."""
    try:
        with failures_end_the_command():
            pairs = read_answers(path)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--answers") from None
    if not pairs:
        raise typer.BadParameter(f"{path} holds no rows", param_hint="--answers")
    return pairs


def say(pairs: list[Judged], benchmark: Benchmark, *, as_json: bool) -> None:
    found = report(pairs, benchmark)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))
    else:
        evaluation_table.show(found)


def draw(pairs: list[Judged], folder: Path) -> None:
    """The pictures; they are told of on stderr, so that --json stays one object."""
    from mmreward_client.evaluation.figures import draw_figures

    try:
        drawn = draw_figures(pairs, folder)
    except ImportError as error:
        raise typer.BadParameter(
            f"{error.name} is missing: pip install 'mmreward[cli]'", param_hint="--plots"
        ) from None
    except OSError as error:
        raise typer.BadParameter(f"{folder}: {error.strerror}", param_hint="--plots") from None
    for path in drawn:
        typer.echo(f"mmreward: wrote {path}", err=True)
