"""The three dashboards as plain Python: what is asked, how it is drawn, where it stands."""

from __future__ import annotations

from boards import engine, reward, service
from boards.board import Board

BOARDS: tuple[Board, ...] = (service.BOARD, reward.BOARD, engine.BOARD)
