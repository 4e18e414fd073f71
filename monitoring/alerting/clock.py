"""One time scale for every window, offset, threshold and patience of the rules.

At scale 1 the rules are what is shipped. A test renders them at a smaller scale, where an hour is
half a minute, and everything that depends on time shrinks alike. Names keep the nominal windows:
`rate5m` is `rate5m` on every scale.
"""

from __future__ import annotations

from dataclasses import dataclass

_UNITS_MS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Clock:
    """Turns nominal times into those of the scale; `scale` 1/120 makes an hour half a minute."""

    scale: float = 1.0

    def seconds(self, nominal: str) -> float:
        """`"5m"` as seconds on this scale."""
        return int(nominal[:-1]) * _SECONDS[nominal[-1]] * self.scale

    def window(self, nominal: str) -> str:
        """`"5m"` as a duration of Prometheus on this scale, to the millisecond."""
        milliseconds = max(1, round(self.seconds(nominal) * 1000))
        for unit, size in _UNITS_MS:
            if milliseconds % size == 0:
                return f"{milliseconds // size}{unit}"
        raise AssertionError("a whole number of milliseconds")
