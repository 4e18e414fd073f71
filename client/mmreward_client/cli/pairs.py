"""`mmreward pairs`: margins and beta of preference pairs, from the command line or a JSONL file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mmreward_client.cli import beta_options as b
from mmreward_client.cli import options as o
from mmreward_client.cli import render
from mmreward_client.cli.files import FileJob, score_file
from mmreward_client.cli.outcome import failures_end_the_command, finish
from mmreward_client.config import DEFAULT_TIMEOUT_S, DEFAULT_URL
from mmreward_client.schema import PairItem, PairResult
from mmreward_client.sync import RewardClient


def pairs(
    images: o.Images = None,
    prompt: o.Prompt = None,
    chosen: Annotated[
        str | None, typer.Option(help="The preferred response.", show_default=False)
    ] = None,
    rejected: Annotated[
        str | None, typer.Option(help="The other response.", show_default=False)
    ] = None,
    chosen_critique: Annotated[
        str | None, typer.Option(help="With --mode given.", show_default=False)
    ] = None,
    rejected_critique: Annotated[
        str | None, typer.Option(help="With --mode given.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="JSONL: images, prompt, chosen, rejected and id in each row.", show_default=False
        ),
    ] = None,
    fps: o.Fps = None,
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
    model: o.Model = None,
    pin: o.Pin = None,
    url: o.Url = DEFAULT_URL,
    api_key: o.ApiKey = None,
    timeout_s: o.TimeoutS = DEFAULT_TIMEOUT_S,
    as_json: o.Json = False,
    batch_size: o.BatchSize = 16,
    concurrency: o.Concurrency = 4,
    strict: o.Strict = False,
) -> None:
    sampling = o.Sampling(critiques, temperature, seed, max_critique_tokens, model)
    o.check_kind(kind, mode)
    beta = b.beta_of(beta0, w, k, basis)
    request = {**sampling.options(), "beta": beta.model_dump(), "kind": kind}
    client = o.make_client(url, api_key, timeout_s, pin, concurrency)
    if file is not None:
        if images or prompt or chosen or rejected:
            raise typer.BadParameter("--file brings its own images, prompts and responses")
        score_file(
            client,
            FileJob(file, PairItem, PairResult, batch_size, concurrency),
            lambda items: client.pairs(items, **request),
            PairResult,
            show,
            as_json=as_json,
            strict=strict,
        )
        return
    if not (prompt and chosen and rejected):
        raise typer.BadParameter("--prompt, --chosen and --rejected are needed, or --file")
    given = [text for text in (chosen_critique, rejected_critique) if text]
    if len(given) != (2 if mode == "given" else 0):
        raise typer.BadParameter("--mode given, and only it, needs both critiques")
    item = {
        **o.media_fields(images, fps),
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "mode": mode,
        "chosen_critique": chosen_critique,
        "rejected_critique": rejected_critique,
    }
    one_pair(client, item, request, as_json, strict)


def one_pair(
    client: RewardClient, item: dict[str, Any], request: dict[str, Any], as_json: bool, strict: bool
) -> None:
    """The pair of the command line, with both critiques."""
    with failures_end_the_command(), client:
        reply = client.pairs([item], **request)
    if as_json:
        typer.echo(reply.model_dump_json())
    else:
        console = Console()
        console.print(render.pair_table(reply.data, ["chosen - rejected"]))
        render.pair_critiques(console, reply.data[0])
        console.print(render.origin(reply), soft_wrap=True)
    finish([result.status for result in reply.data], strict=strict)


def show(results: list[PairResult], labels: list[str]) -> None:
    console = Console()
    console.print(render.pair_table(results, labels))
    console.print(summary(results), soft_wrap=True)


def summary(results: list[PairResult]) -> str:
    """How many pairs have a margin, and in how many the preferred response is ahead."""
    deltas = [result.delta for result in results if result.delta is not None]
    if not deltas:
        return f"0 of {len(results)} pairs scored"
    ahead = sum(delta > 0 for delta in deltas)
    return (
        f"{len(deltas)} of {len(results)} pairs scored, δ > 0 in {ahead} "
        f"({ahead / len(deltas):.1%}), mean δ {sum(deltas) / len(deltas):+.3f}"
    )
