"""Bearer keys. A route behind `require_key` is open only where no key is configured at all."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from mmreward_service.errors import Unauthorized
from mmreward_service.metrics.traffic import NO_KEY
from mmreward_service.state import service_of

_bearer = HTTPBearer(auto_error=False, description="One of the keys in MMREWARD_API_KEYS.")


async def check_key(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    """Runs before the body is read: who may not ask may not upload either.

    Leaves the public name of the key for the metrics: its configured name or its position.
    """
    settings = service_of(request).settings
    keys = settings.api_keys
    request.state.key_name = NO_KEY
    if not keys:
        return
    if credentials is None:
        raise Unauthorized("Authorization: Bearer KEY is required")
    given = _digest(credentials.credentials)
    # Every key is compared, and digests of one length: the time tells nothing.
    matches = [hmac.compare_digest(given, _digest(key.get_secret_value())) for key in keys]
    if not any(matches):
        raise Unauthorized("the key is not valid")
    request.state.key_name = settings.key_names[matches.index(True)]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


require_key = Depends(check_key)
