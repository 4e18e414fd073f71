"""What the engine has been asked and whether it works at all.

An engine can hang while its process lives and every probe of it is well: it takes questions and
answers none. From outside that looks like a long critique. So what is watched is silence: the time
since the last answer or the last token that the engine is known to have computed, counted only
while there are questions. A batch of long critiques, all of them begun at once, is no silence; a
caller who reads slowly, or an upload that takes minutes, does not count.

Questions that end without an answer (a deadline, a caller who hangs up) end no silence: the next
one goes on counting where they stopped. Else an engine that hangs would look well for ever to
whoever asks one request after another, each with a deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class EngineWatch:
    """The questions of one engine.

    Args:
        tokens_done: what the engine has computed so far; asked for when the silence is.

    Attributes:
        critiques: asked for and not yet answered, those in the engine's own line among them.
        last_answer_unix_s: 0 before the first.
    """

    def __init__(self, tokens_done: Callable[[], float] = lambda: 0.0) -> None:
        self.critiques = 0
        self.last_answer_unix_s = 0.0
        self._tokens_done = tokens_done
        self._tokens_seen = 0.0
        self._questions = 0
        self._silence_s = 0.0
        self._counted_until = 0.0

    @contextmanager
    def question(self, critiques: int) -> Iterator[None]:
        """A question that the engine has from here to the end; leaving by an exception is no
        answer: the caller has gone, or the question was refused on its way."""
        if self._questions == 0:
            self._count()
        self._questions += 1
        self.critiques += critiques
        is_answered = False
        try:
            yield
            is_answered = True
        finally:
            if is_answered:
                self.answered()
            elif self._questions == 1:
                self._count()
            self._questions -= 1
            self.critiques -= critiques

    def answered(self) -> None:
        self._silence_s, self._counted_until = 0.0, time.monotonic()
        self.last_answer_unix_s = time.time()

    @property
    def silence_s(self) -> float:
        """How long the engine has had questions without a sign of work; 0 while it has none."""
        if not self._questions:
            return 0.0
        self._count()
        return self._silence_s

    def _count(self) -> None:
        """Add what has passed since the last time, if there were questions and nothing was done."""
        now, done = time.monotonic(), self._tokens_done()
        if done != self._tokens_seen:
            self._tokens_seen, self._silence_s = done, 0.0
        elif self._questions:
            self._silence_s += now - self._counted_until
        self._counted_until = now
