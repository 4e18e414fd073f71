"""`mmreward-serve`: options -> settings -> app -> uvicorn. Heavy imports wait until they are used.

Exit codes: 0 stopped and drained, 1 the start failed, 2 settings or checkpoint refused; with
--check: 0 it would serve, 1 it would not, 2 no folder was named.
"""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mmreward_service.settings import Settings
    from mmreward_service.startup import Readiness

_KEEP_ALIVE_S = 65
"""Longer than the pools of clients and balancers keep a connection: they close it, not we."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="Folder of a model.", show_default=False)
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind. Default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind, 0 for any. Default 8000.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings; also MMREWARD_CONFIG.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="vllm, or fake: scores without a model. Default vllm.")
    ] = None,
    served_name: Annotated[
        str | None, typer.Option(help="Model name on the wire. Default: name of the folder.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="auto, float32, bfloat16 or float16. Default auto.")
    ] = None,
    stock_judge: Annotated[
        str | None,
        typer.Option(
            help="Make a judge of a stock instruct model: default, or a JSON file of templates."
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error. Default info.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Serve nothing: say what is wrong, and the memory needed."),
    ] = False,
    check_parity: Annotated[
        bool,
        typer.Option(
            "--check-parity",
            help="--check, and compute the golden scores on the CPU. Loads the model.",
        ),
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print what --check found as one JSON object.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Serve a reward model over HTTP.

    Every setting also has a variable MMREWARD_NAME; docs/settings.md lists them.
    """
    if version:
        from mmreward_service import __version__

        typer.echo(__version__)
        return
    options = {
        "checkpoint": checkpoint,
        "host": host,
        "port": port,
        "engine": engine,
        "served_name": served_name,
        "dtype": dtype,
        "stock_judge": stock_judge,
        "log_level": log_level,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if check or check_parity:
        from mmreward_service.check.command import run_check

        raise typer.Exit(run_check(config, given, parity=check_parity, json_output=json_output))
    _run(_settings(config, given))


def _settings(config: Path | None, given: dict[str, Any]) -> Settings:
    from mmreward_service.settings import SettingsRefused, load_settings

    try:
        return load_settings(config, **given)
    except SettingsRefused as error:
        raise _refused(str(error)) from error


def _run(settings: Settings) -> None:
    import warnings

    import uvicorn
    from PIL import Image

    from mmreward_service import logs
    from mmreward_service.app import create_app

    logs.configure(settings.log_level)
    # Pixels are bounded by our own limit, from the header; Pillow's warning would only be noise.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    failed = False

    def stop_server() -> None:
        nonlocal failed
        failed = True
        server.should_exit = True

    try:
        asgi = create_app(settings, on_start_failure=stop_server)
    except ValueError as error:  # CheckpointError, FenceError
        raise _refused(str(error)) from error
    server = uvicorn.Server(
        uvicorn.Config(
            asgi,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.drain_s,
        )
    )
    _stop_in_good_order(asgi.state.service.readiness)
    server.run()
    if failed or not server.started:
        raise typer.Exit(1)


def _stop_in_good_order(readiness: Readiness) -> None:
    """What happens when uvicorn, after draining, raises the signal that stopped it again.

    An ordinary exit lets vLLM clean up; but while the model is being loaded, that would mean to
    wait for a thread that nobody needs any more.
    """

    def stop(number: int, _: FrameType | None) -> None:
        if readiness.is_loading:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _refused(message: str) -> typer.Exit:
    typer.echo(f"mmreward-serve: {' '.join(message.split())}", err=True)
    return typer.Exit(2)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
