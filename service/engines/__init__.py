"""Real PostgreSQL 18 and a real Redis-compatible server under one home folder, without Docker or a system service.

Promises, for an ordinary user and for root alike:

* Nobody else connects: sockets lie in folders of mode 0700, every connection needs a random password, and no TCP port
  is open.
* Root never runs an engine; it drops to an account that exists (`describe_identity` says which) and creates none.
* Modes and owners of folders that Tangent did not create stay as they are.
* `<home>/pg18` holds the data. Where the account that root drops to cannot reach `home`, one folder outside holds data
  and sockets; `home` records it, and `remove_engines` deletes it.
* An engine runs in a session of its own, so that the terminal's Ctrl-C does not reach it; what a dead supervisor left
  is stopped by `stop_stale`.
"""

from service.engines.postgres import PostgresHandle, PostgresServer
from service.engines.privileges import describe_identity
from service.engines.redis import RedisHandle, RedisServer
from service.engines.stale import remove_engines, stop_stale

__all__ = [
    "PostgresHandle",
    "PostgresServer",
    "RedisHandle",
    "RedisServer",
    "describe_identity",
    "remove_engines",
    "stop_stale",
]
