"""Whose critique the engine takes up next: self-clocked fair queueing.

S. J. Golestani, "A self-clocked fair queueing scheme for broadband applications", INFOCOM 1994.
Every request is a flow. A virtual clock shows the highest tag that has been finished; the next job
of a request is tagged

    tag = max(clock, the request's own last tag) + cost

and the engine takes the lowest tag first, equal ones in order of arrival. So a request of a few
critiques that comes after a group of 240 is not placed behind all of them: its tags begin at the
clock, and both advance in turn. Nobody starves: whoever comes when the clock shows t is tagged
above t, so that what has been waiting with t + d is overtaken at most d times by each place that
`admission` leaves for others. (Start-time fair queueing, Goyal, Vin and Cheng 1996, tags a job
with the clock itself, without its cost. A steady stream of requests of one critique, each tagged t
and finished at t, would then hold the clock at t, and t + 1 would wait for ever.)

The paper reads the clock off the job in service. Here nobody is told when a job enters the engine,
only when it leaves, so the clock shows what has been finished. The flow is the request and not the
caller: keys may be shared, and whoever wants a larger share may send more requests, each of which
has to get past `admission`.
"""

from __future__ import annotations


class FairQueue:
    """The virtual clock of one engine."""

    def __init__(self) -> None:
        self.clock = 0

    def flow(self) -> Flow:
        """The place of a new request."""
        return Flow(self)


class Flow:
    """The jobs of one request, in the order in which it asks for them."""

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue
        self._last = 0

    def next_tag(self, cost: int = 1) -> int:
        """The tag of the next job; `cost` in critiques."""
        self._last = max(self._queue.clock, self._last) + cost
        return self._last

    def finished(self, tag: int) -> None:
        """A job was answered. One that was cancelled took no service and moves no clock."""
        self._queue.clock = max(self._queue.clock, tag)
