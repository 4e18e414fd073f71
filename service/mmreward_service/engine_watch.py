"""What the engine has been asked and whether it answers at all.

An engine can hang while its process lives and every probe of it is well: it takes questions and
answers none. From outside that looks like a long critique, until it has lasted too long. So what is
watched is silence: the time since the last answer, counted only while there are questions. One
answer ends it, be there thousands of questions more; a caller who reads slowly, or an upload that
takes minutes, does not count.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class EngineWatch:
    """The questions of one engine.

    Attributes:
        critiques: asked for and not yet answered, those in the engine's own line among them.
        last_answer_unix_s: 0 before the first.
    """

    def __init__(self) -> None:
        self.critiques = 0
        self.last_answer_unix_s = 0.0
        self._questions = 0
        self._silent_since = 0.0

    @contextmanager
    def question(self, critiques: int) -> Iterator[None]:
        """A question that the engine has from here to the end; leaving by an exception is no
        answer: the caller has gone, or the question was refused on its way."""
        if self._questions == 0:
            self._silent_since = time.monotonic()
        self._questions += 1
        self.critiques += critiques
        try:
            yield
            self.answered()
        finally:
            self._questions -= 1
            self.critiques -= critiques

    def answered(self) -> None:
        self._silent_since = time.monotonic()
        self.last_answer_unix_s = time.time()

    @property
    def silence_s(self) -> float:
        """How long the engine has had questions without answering any; 0 while it has none."""
        return time.monotonic() - self._silent_since if self._questions else 0.0
