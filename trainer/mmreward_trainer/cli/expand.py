"""`mmreward-train expand`: short human reasons expanded into critiques, through a chat endpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from mmreward_client.cli import data_options as d

from mmreward_trainer.cli.expand_steps import carry_out, failures_end_the_command, rehearse, say

_OPENAI = "https://api.openai.com/v1"


def expand(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Pairs: JSONL, parquet, or a folder saved by `datasets`."
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="JSONL to write; its journal and record lie beside it.")
    ],
    model: Annotated[str, typer.Option(help="Model that the endpoint is asked for.")],
    base_url: Annotated[
        str, typer.Option(help="OpenAI-compatible API, up to and with its version.")
    ] = _OPENAI,
    api_key_env: Annotated[
        str, typer.Option(help="Environment variable that holds the key.")
    ] = "OPENAI_API_KEY",
    form: Annotated[
        str,
        typer.Option(help="mm-rlhf, pairs, rlhf-v, vl-rewardbench or mm-rlhf-rewardbench."),
    ] = "mm-rlhf",
    column: d.Column = None,
    split: d.Split = None,
    image_root: d.ImageRoot = None,
    bad_rows: Annotated[
        str, typer.Option(help="error or skip; skipped rows are counted.")
    ] = "error",
    missing_images: Annotated[
        str, typer.Option(help="error or skip; only with --pictures.")
    ] = "error",
    template: Annotated[
        Path | None,
        typer.Option(
            help="Prompt with {question}, {answer} and {comment}. Default: the packaged one.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Send the pictures too, as data URIs.")
    ] = False,
    frames: Annotated[int, typer.Option(min=1, help="Frames sent of a video.")] = 10,
    max_completion_tokens: Annotated[int, typer.Option(min=1, help="Bound of a reply.")] = 1024,
    length_field: Annotated[
        str, typer.Option(help="max_completion_tokens, or max_tokens for older endpoints.")
    ] = "max_completion_tokens",
    temperature: Annotated[
        float | None, typer.Option(help="Default: the endpoint's own.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="For endpoints that know one.", show_default=False)
    ] = None,
    extra_body: Annotated[
        str | None,
        typer.Option(help="JSON object of further request fields.", show_default=False),
    ] = None,
    on_failure: Annotated[
        str,
        typer.Option(help="keep-original, drop (the row), or error (no file is written)."),
    ] = "error",
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Ask again where the answer was no expansion."),
    ] = False,
    max_requests: Annotated[
        int | None,
        typer.Option(min=0, help="Send at most so many, retries not counted.", show_default=False),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = 8,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.001, help="Seconds for each attempt.")
    ] = 120.0,
    retries: Annotated[
        int, typer.Option(min=0, help="Repetitions after 408, 409, 429, 5xx, no reply.")
    ] = 5,
    stop_after: Annotated[
        int, typer.Option(min=1, help="Unanswered requests in a row that end the run.")
    ] = 20,
    price_input: Annotated[
        float | None, typer.Option(min=0, help="Per million prompt tokens.", show_default=False)
    ] = None,
    price_output: Annotated[
        float | None, typer.Option(min=0, help="Per million completion tokens.", show_default=False)
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of a tokenizer for the estimate.", show_default=False),
    ] = None,
    tokens_per_picture: Annotated[
        int | None, typer.Option(min=0, help="For the estimate.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate and one request; nothing is sent.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking.")] = False,
) -> None:
    """Expand the short reasons of preference pairs into critiques."""
    from mmreward_client.data import ReadOptions
    from mmreward_client.data.forms import columns_of

    from mmreward_trainer.expansion.endpoint import Patience
    from mmreward_trainer.expansion.estimate import Prices, Selection, tokens_by
    from mmreward_trainer.expansion.run import Run
    from mmreward_trainer.expansion.settings import Settings
    from mmreward_trainer.expansion.source import Source
    from mmreward_trainer.expansion.template import read_template

    _check_paths(file, output, image_root)
    with _wrong_usage():
        run = Run(
            source=Source(
                file,
                form,
                ReadOptions(
                    image_root=image_root,
                    bad_rows=bad_rows,  # type: ignore[arg-type] # checked by ReadOptions
                    missing_images=missing_images,  # type: ignore[arg-type]
                    max_frames=frames,
                ),
                columns_of(*column) if column else None,
                split,
                opens_pictures=pictures,
            ),
            settings=Settings(
                model,
                base_url,
                read_template(template),
                pictures,
                max_completion_tokens,
                length_field,  # type: ignore[arg-type] # checked by Settings
                temperature,
                seed,
                _object(extra_body),
            ),
            selection=Selection(max_requests, retry_failed),
            output=output,
            on_failure=_policy(on_failure),
            patience=Patience(timeout_s, retries),
            concurrency=concurrency,
            stop_after=stop_after,
        )
        run.source.reader()  # a form or split that does not exist is wrong usage
        tokens = tokens_by(tokenizer, tokens_per_picture)
    prices = Prices(price_input, price_output)
    with failures_end_the_command():
        if dry_run:
            rehearse(run, tokens, prices)
        else:
            carry_out(run, tokens, prices, _key(api_key_env, base_url), yes=yes)


def _key(variable: str, base_url: str) -> str | None:
    """The key; a server of one's own may want none, the public one always does."""
    key = os.environ.get(variable, "").strip() or None
    if key is None:
        if base_url.rstrip("/") == _OPENAI:
            raise typer.BadParameter(f"{variable} is not set", param_hint="--api-key-env")
        say(f"{variable} is not set: no key is sent")
    return key


def _policy(name: str) -> Any:
    from mmreward_client.errors import InvalidInput

    from mmreward_trainer.expansion.writing import POLICIES

    if name not in POLICIES:
        raise InvalidInput(f"--on-failure {name!r} is none of {', '.join(POLICIES)}")
    return name


def _object(text: str | None) -> dict[str, Any]:
    from mmreward_client.errors import InvalidInput

    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise InvalidInput(f"--extra-body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInput("--extra-body is no JSON object")
    return found


def _check_paths(file: Path, output: Path, image_root: Path | None) -> None:
    if not file.exists():
        raise typer.BadParameter(f"{file} is not there", param_hint="FILE")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"{output.parent} is no folder", param_hint="--output")
    if output.exists() and (output.is_dir() or output.samefile(file)):
        raise typer.BadParameter(f"{output} is a folder, or FILE itself", param_hint="--output")
    d.check_image_root(image_root)


@contextmanager
def _wrong_usage() -> Iterator[None]:
    from mmreward_client.errors import InvalidInput

    try:
        yield
    except InvalidInput as error:
        raise typer.BadParameter(str(error)) from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
