"""`mmreward-train calibrate`: δ to a probability, on validation pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from mmreward_client.cli import data_options as d


def calibrate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder; its config.json is written.")],
    pairs: Annotated[
        Path,
        typer.Argument(
            help="Pairs that were not trained on: JSONL, parquet, or a folder saved by `datasets`."
        ),
    ],
    answers: Annotated[
        list[Path] | None,
        typer.Option(
            help="Answers to them by `mmreward evaluate`; repeatable.", show_default=False
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Ask a running service instead.", show_default=False),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="generate, given or none. Default: what the answers say.", show_default=False
        ),
    ] = None,
    critiques: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Critiques of each response; repeatable.", show_default=False),
    ] = None,
    method: Annotated[
        str, typer.Option(help="auto, temperature or isotonic (for prob alone).")
    ] = "auto",
    kind: Annotated[str, typer.Option(help="critique or judge.")] = "critique",
    report: Annotated[
        Path, typer.Option(help="Folder of the report, and of answers on the way.")
    ] = Path("calibration-report"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Fit and report, write no config.json.")
    ] = False,
    unchecked: Annotated[
        bool,
        typer.Option(
            "--unchecked",
            help="Go on where overlap with the training, or what is served, cannot be told.",
        ),
    ] = False,
    form: Annotated[
        str | None,
        typer.Option(help="What PAIRS holds, as for `mmreward evaluate`.", show_default=False),
    ] = None,
    column: d.Column = None,
    split: d.Split = None,
    image_root: d.ImageRoot = None,
    frames: d.FramesOfFolder = 16,
    fps: d.FramesPerSecond = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of sampling, bootstrap and folds.")] = 0,
    api_key: Annotated[
        str | None, typer.Option(envvar="MMREWARD_API_KEY", help="Bearer key.", show_default=False)
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.001, help="Seconds a request.")
    ] = 600,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of a request.")] = 16,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = 4,
) -> None:
    """Fit what a margin means on validation pairs, and write it into the checkpoint."""
    check_choices(mode=mode, method=method, kind=kind)
    if bool(answers) == (url is not None):
        raise typer.BadParameter("give either --answers or --url")
    listed = tuple(dict.fromkeys(critiques or ([] if answers else [1])))
    if answers and len(listed) > 1:
        raise typer.BadParameter("answers were given with one K", param_hint="--critiques")
    if url is not None and mode is None:
        raise typer.BadParameter("say how the service is to answer", param_hint="--mode")
    if mode in ("given", "none") and listed not in ((), (1,)):
        raise typer.BadParameter(f"mode {mode} has one reading", param_hint="--critiques")
    for path, hint in ((pairs, "PAIRS"), *((one, "--answers") for one in answers or [])):
        if not path.exists():
            raise typer.BadParameter(f"{path} is not there", param_hint=hint)
    d.check_image_root(image_root)

    from mmreward_client.cli.evaluate import columns

    columns(column, form)  # refuses what no form has
    from mmreward_trainer.calibration.command import Settings, run_calibrate

    settings = Settings(
        checkpoint=checkpoint,
        pairs=pairs,
        answers=tuple(answers or ()),
        url=url,
        mode=mode,  # type: ignore[arg-type]  # checked above, as are kind and choice
        critiques=listed,
        form=form,
        columns=tuple(column or ()),
        split=split,
        kind=kind,  # type: ignore[arg-type]
        choice=method,  # type: ignore[arg-type]
        report=report,
        image_root=image_root,
        frames=frames,
        fps=fps,
        seed=seed,
        dry_run=dry_run,
        unchecked=unchecked,
        batch_size=batch_size,
        concurrency=concurrency,
        timeout_s=timeout_s,
    )
    raise typer.Exit(run_calibrate(settings, api_key))


def check_choices(*, mode: str | None, method: str, kind: str) -> None:
    for name, said, known in (
        ("--mode", mode, (None, "generate", "given", "none")),
        ("--method", method, ("auto", "temperature", "isotonic")),
        ("--kind", kind, ("critique", "judge")),
    ):
        if said not in known:
            names = ", ".join(one for one in known if one)
            raise typer.BadParameter(f"{said!r} is none of {names}", param_hint=name)
