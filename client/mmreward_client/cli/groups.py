"""`mmreward groups`: responses compared with each other, from the command line or a JSONL file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console

from mmreward_client.cli import options as o
from mmreward_client.cli.files import FileJob, json_line, label, report_bad_row
from mmreward_client.cli.group_answers import GroupsIntoFile
from mmreward_client.cli.group_rows import with_texts
from mmreward_client.cli.group_table import show_group
from mmreward_client.cli.outcome import failures_end_the_command, finish
from mmreward_client.cli.render import origin
from mmreward_client.cli.rows import Row
from mmreward_client.cli.serving import served_by
from mmreward_client.config import DEFAULT_TIMEOUT_S, DEFAULT_URL
from mmreward_client.schema import Aggregate, GroupItem, GroupResult, Orders
from mmreward_client.sync import RewardClient

_GROUPS_PER_REQUEST = 4
"""Each is a dozen comparisons or more."""


@dataclass(frozen=True)
class Comparing:
    """Which comparisons are made and what becomes of them; None: the service's default."""

    orders: str
    comparisons: str
    aggregate: str

    def options(self) -> dict[str, Any]:
        """Keyword arguments of `RewardClient.groups`.

        Raises:
            typer.BadParameter: a value that there is not.
        """
        for name, known in (("orders", get_args(Orders)), ("aggregate", get_args(Aggregate))):
            if getattr(self, name) not in known:
                raise typer.BadParameter(
                    f"{getattr(self, name)!r} is none of {', '.join(known)}",
                    param_hint=f"--{name}",
                )
        return {**asdict(self), "comparisons": self._opponents()}

    def _opponents(self) -> str | int:
        if self.comparisons == "all":
            return "all"
        if not self.comparisons.isdecimal() or int(self.comparisons) < 1:
            raise typer.BadParameter(
                f"{self.comparisons!r} is neither all nor a number from 1",
                param_hint="--comparisons",
            )
        return int(self.comparisons)


def groups(
    images: o.Images = None,
    prompt: o.Prompt = None,
    response: Annotated[
        list[str] | None,
        typer.Option(help="A response to compare; repeat for the others.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="JSONL: images, prompt and responses in each row; a response is a text, or an "
            "object with `text` and `complete`.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="With --file: JSONL of the rows with their scores, gone on with if it is there.",
            show_default=False,
        ),
    ] = None,
    fps: o.Fps = None,
    orders: Annotated[
        str, typer.Option(help="both: each two responses in both orders; balanced: once.")
    ] = "both",
    comparisons: Annotated[
        str, typer.Option(help="all, or the number of opponents of each response.")
    ] = "all",
    aggregate: Annotated[
        str, typer.Option(help="mean, additive, win_rate or bradley_terry.")
    ] = "mean",
    critiques: Annotated[int, typer.Option(min=1, help="Judgements of each comparison.")] = 1,
    temperature: o.Temperature = None,
    seed: o.Seed = None,
    max_critique_tokens: o.MaxCritiqueTokens = None,
    model: o.Model = None,
    pin: o.Pin = None,
    url: o.Url = DEFAULT_URL,
    api_key: o.ApiKey = None,
    timeout_s: o.TimeoutS = DEFAULT_TIMEOUT_S,
    as_json: o.Json = False,
    batch_size: o.BatchSize = _GROUPS_PER_REQUEST,
    concurrency: o.Concurrency = 4,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if any comparison has failed.")
    ] = False,
) -> None:
    sampling = o.Sampling(critiques, temperature, seed, max_critique_tokens, model).options()
    request = {**Comparing(orders, comparisons, aggregate).options(), **sampling}
    if file is None and (output is not None or not prompt or len(response or []) < 2):
        raise typer.BadParameter("--prompt and two --response are needed, or --file")
    if file is not None and (images or prompt or response):
        raise typer.BadParameter("--file brings its own images, prompts and responses")
    if output is not None and as_json:
        raise typer.BadParameter("--output writes JSON itself", param_hint="--json")
    if output is not None and not output.parent.is_dir():
        raise typer.BadParameter(f"{output.parent} is no folder", param_hint="--output")
    client = o.make_client(url, api_key, timeout_s, pin, concurrency)
    if file is None:
        item = {**o.media_fields(images, fps), "prompt": prompt, "responses": response}
        one_group(client, item, request, as_json=as_json, strict=strict)
        return
    job = FileJob(file, GroupItem, GroupResult, batch_size, concurrency, with_texts)
    if output is None:
        show_file(client, job, request, as_json=as_json, strict=strict)
    else:
        write_file(client, job, request, output, strict=strict)


def one_group(
    client: RewardClient,
    item: dict[str, Any],
    request: dict[str, Any],
    *,
    as_json: bool,
    strict: bool,
) -> None:
    """The group of the command line: its table, or the reply as it came."""
    with failures_end_the_command(), client:
        reply = client.groups([item], **request)
    if as_json:
        typer.echo(reply.model_dump_json())
    else:
        console = Console()
        show_group(console, reply.data[0], "group", item["responses"])
        console.print(origin(reply), soft_wrap=True)
    finish([reply.data[0].status], strict=strict)


def show_file(
    client: RewardClient, job: FileJob, request: dict[str, Any], *, as_json: bool, strict: bool
) -> None:
    """A table, or a line of JSON, for each row in the order of the file."""
    done: list[tuple[Row, GroupResult]] = []
    with failures_end_the_command(), client:
        try:
            for outcome in job.run(lambda items: client.groups(items, **request)):
                report_bad_row(outcome)
                if as_json:
                    typer.echo(json_line(outcome))
                assert isinstance(outcome.result, GroupResult)
                done.append((outcome.row, outcome.result))
        finally:
            # Also when a request failed midway: what was compared until then is not lost.
            for row, result in [] if as_json else done:
                responses = [str(one) for one in row.item.get("responses", [])]
                show_group(Console(), result, label(row), responses)
    finish([result.status for _, result in done], strict=strict)


def write_file(
    client: RewardClient, job: FileJob, request: dict[str, Any], output: Path, *, strict: bool
) -> None:
    """The rows with their scores into `output`."""
    # Not the model: its fingerprint says more.
    decisive = {name: value for name, value in request.items() if name != "model"}
    rows = job.rows()
    try:
        with failures_end_the_command(), client:
            origin = served_by(client, request.get("model"), decisive)
            pinned = {**request, "pin": client.pin or origin.fingerprint}
            statuses = GroupsIntoFile(
                rows,
                origin,
                lambda items: client.groups(items, **pinned),
                job.batch_size,
                job.concurrency,
            ).write(output)
    except OSError as error:
        typer.echo(f"mmreward: {output}: {error.strerror}", err=True)
        raise typer.Exit(1) from error
    scored = sum(status in ("ok", "partial") for status in statuses)
    typer.echo(f"{scored} of {len(statuses)} groups scored, in {output}")
    finish(statuses, strict=strict)
