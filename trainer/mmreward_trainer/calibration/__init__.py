"""From delta to a probability: fitted on validation pairs and checked on held-out ones.

margins.py           answers and validation pairs to margins, with what is left out and why
groups.py            which pairs are not independent
temperature.py       one temperature, with its interval
isotonic.py          a monotone map for `prob` alone
cross_validation.py  probabilities of pairs that a map has not seen, and which map is better
fitting.py           the whole fit of one way of scoring
reliability.py       errors of stated probabilities, overall and by category
reporting.py, figures.py   JSON, Markdown and pictures
writing.py           config.json, atomically
command.py           what `mmreward-train calibrate` does
"""

from __future__ import annotations

from mmreward_trainer.calibration.reliability import expected_calibration_error
from mmreward_trainer.calibration.temperature import (
    BOOTSTRAP_SAMPLES,
    MIN_ERRORS,
    CalibrationError,
    best_temperature,
    fit_temperature,
)

__all__ = [
    "BOOTSTRAP_SAMPLES",
    "MIN_ERRORS",
    "CalibrationError",
    "best_temperature",
    "expected_calibration_error",
    "fit_temperature",
]
