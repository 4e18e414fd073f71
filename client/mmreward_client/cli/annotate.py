"""`mmreward annotate`: δ, its probability and β for every pair of a data set."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mmreward_client.annotation.asking import asking_for
from mmreward_client.annotation.cases import RANKED, DataSet
from mmreward_client.annotation.models import Assignment, check_folds
from mmreward_client.annotation.output import is_parquet
from mmreward_client.cli import annotate_report
from mmreward_client.cli import beta_options as b
from mmreward_client.cli import data_options as d
from mmreward_client.cli import options as o
from mmreward_client.cli.annotate_run import Annotation, Sending, score_files, served_card
from mmreward_client.cli.outcome import failures_end_the_command, finish
from mmreward_client.config import DEFAULT_TIMEOUT_S, DEFAULT_URL
from mmreward_client.data.columns import Columns
from mmreward_client.data.forms import build_of, columns_of
from mmreward_client.data.options import ReadOptions
from mmreward_client.data.trained_rows import TrainedRows
from mmreward_client.errors import InvalidInput

_RESPONSES_PER_REQUEST = 16
_GROUPS_PER_REQUEST = 4
"""Each is a dozen comparisons or more."""


def annotate(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Pairs or ranked responses: JSONL, parquet, or a folder saved by `datasets`.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Annotated rows, .jsonl or .parquet. Scores are collected beside it, and gone on "
            "with if they are there. Default: FILE's name with .annotated.jsonl, in the working "
            "directory.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            help="What FILE holds: pairs, ranked, mm-rlhf, mm-rlhf-rewardbench, vl-rewardbench or "
            "rlhf-v. Default: ranked where rows have `responses` and `ranks`, pairs otherwise.",
            show_default=False,
        ),
    ] = None,
    column: d.Column = None,
    split: d.Split = None,
    image_root: d.ImageRoot = None,
    frames: d.FramesOfFolder = 10,
    fps: d.FramesPerSecond = 1.0,
    kind: o.Kind = None,
    mode: o.Mode = "generate",
    critiques: o.Critiques = 1,
    temperature: o.Temperature = None,
    seed: o.Seed = None,
    max_critique_tokens: o.MaxCritiqueTokens = None,
    beta0: b.Beta0 = 0.1,
    w: b.W = 0.5,
    k: b.K = 0.5,
    basis: b.Basis = "raw",
    ls_factor: Annotated[
        bool,
        typer.Option(
            "--ls-factor", help="Also the column of MM-RLHF's released trainer, 1 - exp(-k δ)."
        ),
    ] = False,
    checkpoint_rows: Annotated[
        list[Path] | None,
        typer.Option(
            help="Training rows of the model: its checkpoint folder, or the training_rows.u64 in "
            "it. Pairs among them are marked. Once for each --fold-url.",
            show_default=False,
        ),
    ] = None,
    fold_url: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of --url, two or more: each pair is scored by a model that did not see "
            "it.",
            show_default=False,
        ),
    ] = None,
    fold_column: Annotated[
        str | None,
        typer.Option(
            help="Column with the number, from 0, of the --fold-url that did not see the row. "
            "Default: by --checkpoint-rows.",
            show_default=False,
        ),
    ] = None,
    suspects: Annotated[
        int, typer.Option(min=0, help="Most negative margins that are named.")
    ] = 20,
    picture: Annotated[bool, typer.Option(help="Draw the histograms.")] = True,
    model: o.Model = None,
    pin: o.Pin = None,
    url: o.Url = DEFAULT_URL,
    api_key: o.ApiKey = None,
    timeout_s: o.TimeoutS = DEFAULT_TIMEOUT_S,
    as_json: Annotated[
        bool, typer.Option("--json", help="The summary as one JSON object, no text.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Responses, or groups before a judge, in one request. Default: 16, or 4.",
            show_default=False,
        ),
    ] = None,
    concurrency: o.Concurrency = 4,
    strict: o.Strict = False,
) -> None:
    o.check_kind(kind, mode)
    d.check_image_root(image_root)
    output = output or Path(f"{file.stem}.annotated.jsonl")
    check_output(file, output)
    urls = fold_url or [url]
    rows = training_rows(checkpoint_rows, len(urls), fold_column)
    reading = ReadOptions(image_root=image_root, max_frames=frames, source_fps=fps)
    named = columns(column, form)
    beta = b.beta_of(beta0, w, k, basis)
    sampling = o.Sampling(critiques, temperature, seed, max_critique_tokens, model).options()
    clients = [o.make_client(one, api_key, timeout_s, pin, concurrency) for one in urls]
    with failures_end_the_command(), ExitStack() as stack:
        for client in clients:
            stack.enter_context(client)
        asking = asking_for(kind, served_card(clients[0], model))
        is_judged = asking.kind == "judge"
        if is_judged and mode != "generate":
            raise InvalidInput(f"--mode {mode}: the service has a judge, which knows generate only")
        data = DataSet(
            file, reading, mode, form, named, split, is_parquet(output), is_judged=is_judged
        )
        size = batch_size or (_GROUPS_PER_REQUEST if is_judged else _RESPONSES_PER_REQUEST)
        read = {"frames": frames, "fps": fps}
        run = Annotation(
            data,
            output,
            beta,
            Sending(asking, sampling, mode, critiques, read, size, concurrency),
            Assignment(data, rows, fold_column),
            is_ls_factor_wanted=ls_factor,
            suspects=suspects,
        )
        try:
            tally = run.carry_out(clients)
        except OSError as error:
            typer.echo(f"mmreward: {error.filename or file}: {error.strerror}", err=True)
            raise typer.Exit(1) from error
    figures = {**run.told, **tally.figures()}
    annotate_report.save(figures, output)
    if picture:
        annotate_report.draw_picture(tally, run.beta, output)
    if as_json:
        typer.echo(json.dumps(figures, ensure_ascii=False, allow_nan=False))
    else:
        annotate_report.show(figures, output)
    finish(list(tally.statuses.elements()), strict=strict)


def check_output(file: Path, output: Path) -> None:
    """Nothing is overwritten that this command has not written itself."""
    if not file.exists():
        raise typer.BadParameter(f"{file}: no such file", param_hint="FILE")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"{output.parent} is no folder", param_hint="--output")
    if output.suffix.lower() not in (".jsonl", ".parquet"):
        raise typer.BadParameter("the name ends in .jsonl or .parquet", param_hint="--output")
    if output.exists() and not any(path.exists() for path in score_files(output)):
        raise typer.BadParameter(
            f"{output} is there and was not written by this command: name another file",
            param_hint="--output",
        )


def training_rows(
    paths: list[Path] | None, models: int, fold_column: str | None
) -> list[TrainedRows | None]:
    """What each model was trained on."""
    try:
        check_folds(models, len(paths or []), fold_column)
        return [TrainedRows(path) for path in paths] if paths else [None] * models
    except InvalidInput as error:
        raise typer.BadParameter(str(error), param_hint="--checkpoint-rows") from None


def columns(named: list[str] | None, form: str | None) -> Columns | None:
    """The columns that were named, for a form that takes them."""
    try:
        found = columns_of(*named) if named else None
        if form not in (None, RANKED):
            build_of(form or "", found)
    except InvalidInput as error:
        raise typer.BadParameter(str(error), param_hint="--form, --column") from None
    return found
