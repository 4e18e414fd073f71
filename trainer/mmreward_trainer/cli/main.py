"""The subcommands of `mmreward-train`. Everything heavy is imported inside the commands."""

from __future__ import annotations

import typer

from mmreward_trainer.cli.align import align
from mmreward_trainer.cli.calibrate import calibrate
from mmreward_trainer.cli.card import card
from mmreward_trainer.cli.critique import critique
from mmreward_trainer.cli.digits import digits
from mmreward_trainer.cli.digits_judge import digits_judge
from mmreward_trainer.cli.expand import expand
from mmreward_trainer.cli.import_ import import_
from mmreward_trainer.cli.judge import judge

app = typer.Typer(
    name="mmreward-train",
    help="Train reward models that mmreward serves.",
    epilog="Exit codes: 0 done, 1 failed or interrupted, 2 wrong usage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("critique")(critique)
app.command("judge")(judge)
app.command("digits")(digits)
app.command("digits-judge")(digits_judge)
app.add_typer(align, name="align")
app.command("calibrate")(calibrate)
app.command("card")(card)
app.command("expand")(expand)
app.command("import")(import_)


@app.callback()
def _no_options_of_its_own() -> None: ...


def main() -> None:
    app()
