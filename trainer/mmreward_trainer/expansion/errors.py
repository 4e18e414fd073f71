"""What ends an expansion, beside bad input (the client's InvalidInput) and files (OSError).

    ExpansionError
    ├── EndpointError       the endpoint serves none of these requests
    ├── Interrupted         the user ended the run
    └── FailedExpansions    there are failed expansions, and the policy is `error`

A single request that fails is none of them: it is a `Reply` with a status.
"""

from __future__ import annotations


class ExpansionError(Exception):
    """Root of the errors of this package."""


class EndpointError(ExpansionError):
    """The endpoint serves none of these requests; asking on would fail the same way."""


class Interrupted(ExpansionError):
    """The user ended the run; what was under way is in the journal."""


class FailedExpansions(ExpansionError):
    """There are failed expansions, and the policy is `error`: no file was written."""
