"""Options for the constants of MM-DPO's β."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from mmreward_client.schema import Beta, describe

Beta0 = Annotated[float, typer.Option(help="β at a margin of zero or less.")]
W = Annotated[float, typer.Option(help="Largest relative increase of β.")]
K = Annotated[float, typer.Option(help="How fast β grows with δ.")]
Basis = Annotated[str, typer.Option(help="δ that β is computed from: raw or calibrated.")]


def beta_of(beta0: float, w: float, k: float, basis: str) -> Beta:
    """Raises typer.BadParameter where a constant is outside of its range."""
    try:
        return Beta.model_validate({"beta0": beta0, "w": w, "k": k, "basis": basis})
    except ValidationError as error:
        raise typer.BadParameter(describe(error)) from error
