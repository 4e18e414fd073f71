"""One model for the whole run: the fingerprint that every reply of a client has to come from.

Given in words it holds from the first call on. With `pin="first"` the first scoring reply tells it,
and it holds from then on, on every replica: it is sent with each request, so that the service
refuses before it computes, and compared with each whole reply before any number is handed out. Of
calls that were under way together when nothing was known yet, all have to agree as well.

Results of a stream are handed out before its last line, which alone tells the fingerprint: there
the comparison comes after the numbers, and what keeps another model's numbers away is the pin that
was sent. A stream that begins before anything is known sends none.

What was learned travels in a pickle and into processes forked after that, so that such workers
insist on the same model. Workers that were forked before the first reply each learn for themselves,
perhaps different models: for them the fingerprint has to be given in words. There is no lock: one
could be held by another thread at the moment of a fork.
"""

from __future__ import annotations

from mmreward_client.errors import PinMismatch

FIRST = "first"


class Pin:
    """What a client insists on.

    Args:
        asked: a fingerprint, `first`, or None for no pin.
    """

    def __init__(self, asked: str | None) -> None:
        self._asked = asked
        self._learned: dict[str, str] = {}

    @property
    def fingerprint(self) -> str | None:
        """What the next request has to be answered by; None while anything will do."""
        return self._learned.get(FIRST) if self._asked == FIRST else self._asked

    def learn(self, found: str, *, asked: str | None) -> None:
        """Take note of the fingerprint of a reply.

        Args:
            asked: the pin that its request was sent with; such a reply has been checked already.

        Raises:
            PinMismatch: another reply was there first, from another model.
        """
        if self._asked != FIRST or asked is not None:
            return
        # One step of the interpreter, so that two threads cannot both be the first.
        first = self._learned.setdefault(FIRST, found)
        if first != found:
            raise PinMismatch(
                f"the first reply came from fingerprint {first}, this one is from {found}",
                code="pin_mismatch",
            )

    def __getstate__(self) -> dict[str, object]:
        return {"_asked": self._asked, "_learned": dict(self._learned)}
