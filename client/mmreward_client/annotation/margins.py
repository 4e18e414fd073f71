"""From the scores of two responses to what stands beside their pair in the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmreward_client.annotation.scores import SideScore
from mmreward_client.errors import ProtocolError
from mmreward_client.margin import ls_factor, margin
from mmreward_client.schema import Beta, Kind, ModelCard, describe

FIELDS = (
    *("chosen_score", "rejected_score", "delta", "delta_stderr", "delta_calibrated", "prob"),
    *("beta", "status", "error", "fingerprint"),
)
ORDERS = "orders"
"""Of a judge alone: δ with the chosen answer first, and with it second."""


class CardCalibration(BaseModel):
    """A calibration as a model's card lists it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: str = "critique"
    mode: str
    critiques: int = 1
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    knots: list[tuple[float, float]] | None = None


def calibration_of(
    card: ModelCard, mode: str, critiques: int, kind: Kind = "critique"
) -> CardCalibration | None:
    """The map fitted for exactly this way of scoring, or None.

    Raises:
        ProtocolError: the card lists something that is no calibration.
    """
    try:
        listed = [CardCalibration.model_validate(one) for one in card.calibration]
    except ValidationError as error:
        raise ProtocolError(f"unreadable calibration of {card.id}: {describe(error)}") from error
    wanted = (kind, mode, critiques)
    return next((one for one in listed if (one.kind, one.mode, one.critiques) == wanted), None)


@dataclass(frozen=True)
class Margins:
    """How pairs are compared.

    Attributes:
        calibrations: of each model that scores, in the order of the models.
        fingerprints: of these models.
        is_ls_factor_wanted: whether the column of the released code is written as well.
    """

    beta: Beta
    calibrations: Sequence[CardCalibration | None]
    fingerprints: Sequence[str]
    is_ls_factor_wanted: bool = False

    def of(
        self, chosen: SideScore, rejected: SideScore, model: int, *, is_calibrated: bool = True
    ) -> dict[str, Any]:
        """The fields of a pair; if one side fails, the other keeps its score.

        Args:
            is_calibrated: whether the model's calibration is of scores that came about like these.
        """
        fields: dict[str, Any] = dict.fromkeys(FIELDS)
        fields["chosen_score"], fields["rejected_score"] = chosen.score, rejected.score
        fields["fingerprint"] = self.fingerprints[model]
        for name, side in (("chosen", chosen), ("rejected", rejected)):
            if side.score is None:
                fields["status"] = side.status
                fields["error"] = f"{name}: {side.error or side.status}"
                return self._with_ls_factor(fields)
        assert chosen.score is not None
        assert rejected.score is not None
        between = margin(
            (chosen.score, chosen.stderr),
            (rejected.score, rejected.stderr),
            self.calibrations[model] if is_calibrated else None,
            self.beta,
        )
        fields |= vars(between)
        fields["status"] = "ok"
        return self._with_ls_factor(fields)

    def unusable(self, error: str | None) -> dict[str, Any]:
        """The fields of a row that no model was asked about."""
        return self._with_ls_factor(
            {**dict.fromkeys(FIELDS), "status": "invalid", "error": error or "not asked"}
        )

    def _with_ls_factor(self, fields: dict[str, Any]) -> dict[str, Any]:
        if self.is_ls_factor_wanted:
            fields["ls_factor"] = ls_factor(self._basis(fields), self.beta.k)
        return fields

    def _basis(self, fields: Mapping[str, Any]) -> float | None:
        name = "delta" if self.beta.basis == "raw" else "delta_calibrated"
        found: float | None = fields[name]
        return found
