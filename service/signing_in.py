"""Links that sign a browser in once."""

from __future__ import annotations

from service.store.database import Connection
from service.store.requests import note_once


def spend_link(connection: Connection, link_id: str) -> bool:
    """Spend a link; False where it was spent before."""
    return note_once(connection, link_id, "login")
