"""Writes the OpenAPI snapshot anew: python tests/contract/renew_openapi.py"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from test_openapi import SNAPSHOT, render

SNAPSHOT.write_text(render(), encoding="utf-8")
print(f"wrote {SNAPSHOT}")
