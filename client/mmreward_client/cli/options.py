"""Options that subcommands share, and the client and request options made of them.

Here the commands read the environment, through typer: MMREWARD_URL, MMREWARD_API_KEY.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from mmreward_client.schema import Kind as ModelKind
from mmreward_client.sync import RewardClient

MODES = ("generate", "given", "none")
KINDS = get_args(ModelKind)

Images = Annotated[
    list[Path] | None,
    typer.Argument(metavar="IMAGE", help="Images the prompt is about.", show_default=False),
]
Prompt = Annotated[str | None, typer.Option(help="The question.", show_default=False)]
Fps = Annotated[
    float | None,
    typer.Option(help="The images are frames of a video, at this rate.", show_default=False),
]
Mode = Annotated[
    str, typer.Option(help="generate: the model writes the critique; given; none: no critique.")
]
Kind = Annotated[
    str | None,
    typer.Option(
        help="judge: both answers compared with each other, in both orders; critique: each by "
        "itself. Default: what the model is, critique where it is both.",
        show_default=False,
    ),
]
Critiques = Annotated[int, typer.Option(min=1, help="Critiques sampled for each response.")]
Temperature = Annotated[
    float | None,
    typer.Option(help="Default: 0 for one critique, 1 for several.", show_default=False),
]
Seed = Annotated[int | None, typer.Option(help="Makes sampling repeatable.", show_default=False)]
MaxCritiqueTokens = Annotated[
    int | None,
    typer.Option(min=1, help="Default: the checkpoint's own.", show_default=False),
]
Model = Annotated[str | None, typer.Option(help="Refuse any other model.", show_default=False)]
Pin = Annotated[
    str | None, typer.Option(help="Refuse any other provenance fingerprint.", show_default=False)
]
Url = Annotated[str, typer.Option(envvar="MMREWARD_URL", help="Address of the service.")]
ApiKey = Annotated[
    str | None, typer.Option(envvar="MMREWARD_API_KEY", help="Bearer key.", show_default=False)
]
TimeoutS = Annotated[
    float, typer.Option("--timeout", min=0.001, help="Seconds for each request, retries included.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line instead of a table.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Rows of a file sent in one request.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests under way at once, for a file.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if any item has no score.")]


@dataclass(frozen=True)
class Sampling:
    """Request options that go to the service as they are."""

    critiques: int
    temperature: float | None
    seed: int | None
    max_critique_tokens: int | None
    model: str | None

    def options(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


def make_client(
    url: str, api_key: str | None, timeout_s: float, pin: str | None, concurrency: int = 1
) -> RewardClient:
    try:
        return RewardClient(
            url, api_key=api_key, timeout_s=timeout_s, pin=pin, max_connections=concurrency
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def check_mode(mode: str) -> None:
    if mode not in MODES:
        raise typer.BadParameter(f"{mode!r} is none of {', '.join(MODES)}", param_hint="--mode")


def check_kind(kind: str | None, mode: str) -> None:
    """The kind and its mode: a judge writes its comparison, there is nothing to give to it."""
    check_mode(mode)
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}", param_hint="--kind")
    if kind == "judge" and mode != "generate":
        raise typer.BadParameter("a judge has the mode generate only", param_hint="--mode")


def media_fields(images: list[Path] | None, fps: float | None) -> dict[str, Any]:
    """The media of an item from the command line."""
    if fps is not None:
        if not images:
            raise typer.BadParameter("needs the frames of the video", param_hint="--fps")
        return {"video": {"frames": list(images), "fps": fps}}
    return {"images": list(images or [])}
