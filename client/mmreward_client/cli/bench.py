"""`mmreward bench`: what a running service does under a load of the caller's own rows."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console

from mmreward_client.aio import AsyncRewardClient
from mmreward_client.benching.arrivals import Load
from mmreward_client.benching.figures import figures_of
from mmreward_client.benching.load import Ask, Sample, run_load
from mmreward_client.benching.requests import Route, endless_batches, route_of
from mmreward_client.cli import options as o
from mmreward_client.cli.bench_table import bench_table
from mmreward_client.cli.group_rows import with_texts
from mmreward_client.cli.outcome import failures_end_the_command
from mmreward_client.cli.progress import progress
from mmreward_client.cli.rows import Row, read_rows, with_pictures
from mmreward_client.config import DEFAULT_TIMEOUT_S, DEFAULT_URL
from mmreward_client.schema import GroupItem, PairItem, ScoreItem

_KINDS: dict[Route, type[BaseModel]] = {"score": ScoreItem, "pairs": PairItem, "groups": GroupItem}
_OPEN_LOOP_CONNECTIONS = 1024
"""An open loop that waited for a connection would be a closed one."""


def bench(
    file: Annotated[
        Path,
        typer.Option(
            help="JSONL, taken in turn: images, prompt, and response, or chosen and rejected, or "
            "responses. A row that comes round again has its round appended to its answers.",
            show_default=False,
        ),
    ],
    requests: Annotated[
        int | None, typer.Option(min=1, help="How many at the most.", show_default="200")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Send no more after this time.", show_default=False),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Requests under way at once.", show_default="16"),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Instead: requests a second, whatever the service does (Poisson).",
            show_default=False,
        ),
    ] = None,
    items: Annotated[int, typer.Option(min=1, help="Rows in one request.")] = 1,
    warm_up: Annotated[int, typer.Option(min=0, help="Requests before, not counted.")] = 8,
    mode: o.Mode = "generate",
    critiques: o.Critiques = 1,
    max_critique_tokens: o.MaxCritiqueTokens = None,
    seed: Annotated[int, typer.Option(help="Of the times of --rate, and of sampling.")] = 0,
    url: o.Url = DEFAULT_URL,
    api_key: o.ApiKey = None,
    timeout_s: o.TimeoutS = DEFAULT_TIMEOUT_S,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    o.check_mode(mode)
    if rate is not None and concurrency is not None:
        raise typer.BadParameter("give --concurrency or --rate, not both", param_hint="--rate")
    at_once = None if rate is not None else concurrency or 16
    if requests is None and seconds is None:
        requests = 200
    route, rows = _rows(file)
    if route != "groups":
        rows = [{"mode": mode, **row} for row in rows]
    batches = endless_batches(rows, route, items)
    sampling = o.Sampling(critiques, None, seed, max_critique_tokens, None).options()
    load = Load(requests, seconds, at_once, rate, seed)
    samples: list[Sample] = []
    client = _client(url, api_key, timeout_s, at_once)
    # Ctrl-C ends the load, and what it has shown until then is told.
    with failures_end_the_command(), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_measure(client, route, sampling, batches, load, warm_up, samples))
    if not samples:
        typer.echo("mmreward: no request has ended", err=True)
        raise typer.Exit(1)
    found = figures_of(samples)
    if as_json:
        typer.echo(json.dumps({"route": f"/v1/{route}", "load": vars(load), **found.as_json()}))
    else:
        Console().print(bench_table(found, f"/v1/{route}"))
    if found.scored == 0:
        typer.echo("mmreward: not one item has a score", err=True)
        raise typer.Exit(1)


async def _measure(
    client: AsyncRewardClient,
    route: Route,
    sampling: dict[str, Any],
    batches: Iterator[list[dict[str, Any]]],
    load: Load,
    warm_up: int,
    samples: list[Sample],
) -> None:
    asks: dict[Route, Ask] = {
        "score": partial(client.score, **sampling),
        "pairs": partial(client.pairs, **sampling),
        "groups": partial(client.groups, **sampling),
    }
    ask = asks[route]
    async with client:
        await client.version()  # a wrong address ends here, not as so many failed requests
        if warm_up:
            before = Load(requests=warm_up, concurrency=load.concurrency or warm_up)
            await run_load(ask, batches, before, lambda sample: None)
        with progress(f"/v1/{route}", load.requests) as advance:

            def note(sample: Sample) -> None:
                samples.append(sample)
                advance()

            await run_load(ask, batches, load, note)


def _client(
    url: str, api_key: str | None, timeout_s: float, at_once: int | None
) -> AsyncRewardClient:
    try:
        return AsyncRewardClient(
            url,
            api_key=api_key,
            timeout_s=timeout_s,
            retries=0,
            max_connections=at_once or _OPEN_LOOP_CONNECTIONS,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _rows(file: Path) -> tuple[Route, list[dict[str, Any]]]:
    """All rows with their pictures read in, and the route that they are for.

    Raises:
        typer.BadParameter: no file, no rows, a row that cannot be sent, rows of several kinds.
    """
    try:
        with file.open("rb") as lines:
            first = next((line for line in lines if line.strip()), b"")
        route = route_of(json.loads(first)) if first else None
        if route is None:
            raise typer.BadParameter(
                f"{file}: the first row has none of `response`, `chosen` and `rejected`, or "
                "`responses`, or several of them",
                param_hint="--file",
            )
        kind = _KINDS[route]
        rows = [_ready(row, route) for row in read_rows(file, kind)]
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--file") from None
    except ValueError as error:
        raise typer.BadParameter(f"{file}: {error}", param_hint="--file") from None
    return route, rows


def _ready(row: Row, route: Route) -> dict[str, Any]:
    read = with_pictures(with_texts(row) if route == "groups" else row, _KINDS[route])
    if read.error is not None:
        raise typer.BadParameter(read.error, param_hint="--file")
    return read.item
