"""What the HTTP client can change: each method is one request, which is safe to send again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class Acting(ABC):
    """Methods that change studies, trials and workers. Every one raises ServiceError with the service's own words."""

    @abstractmethod
    def act(
        self, path: str, document: Mapping[str, Any] | None = None, *, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """POST something once: sent again with the same key where the answer was lost."""

    @abstractmethod
    def change(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """PATCH or DELETE something, which does the same when it is sent again."""

    def pause(self, study_id: int, *, now: bool = False) -> dict[str, Any]:
        """Let no trial start; with `now` running ones are handed back too."""
        return self.act(f"/studies/{study_id}/pause", params={"now": "true"} if now else None)

    def resume(self, study_id: int) -> dict[str, Any]:
        """Let the trials of a paused study start again."""
        return self.act(f"/studies/{study_id}/resume")

    def cancel(self, study_id: int) -> dict[str, Any]:
        """End a study; raises where it has ended already (status 409)."""
        return self.act(f"/studies/{study_id}/cancel")

    def retry(self, study_id: int, number: int | None = None) -> dict[str, Any]:
        """Have a failed trial, or all that can be, wait again; the answer's `retried` lists them."""
        return self.act(
            f"/studies/{study_id}/retry" if number is None else f"/studies/{study_id}/trials/{number}/retry"
        )

    def requeue(self, study_id: int, number: int) -> dict[str, Any]:
        """Take a running trial from its slot, to be run on from its last checkpoint."""
        return self.act(f"/studies/{study_id}/trials/{number}/requeue")

    def add_replicates(self, study_id: int, n: int) -> dict[str, Any]:
        """Add replicates to every arm."""
        return self.act(f"/studies/{study_id}/replicates", {"n": n})

    def clone(self, study_id: int, changes: Mapping[str, Any], *, is_dry: bool = False) -> dict[str, Any]:
        """Submit a study made from another; `changes` are merged into its file. `is_dry` only says what it costs."""
        params = {"validate_only": "true"} if is_dry else None
        return self.act(f"/studies/{study_id}/clone", changes, params=params)

    def change_settings(self, study_id: int, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set priority, weight or max_running."""
        return self.change("PATCH", f"/studies/{study_id}", json=dict(changes))

    def delete(self, study_id: int, name: str) -> None:
        """Delete a study that has ended; `name` is its name."""
        self.change("DELETE", f"/studies/{study_id}", params={"confirm": name})

    def drain(self, worker_id: str) -> dict[str, Any]:
        """Let a worker take no new trials."""
        return self.act(f"/workers/{worker_id}/drain")

    def undrain(self, worker_id: str) -> dict[str, Any]:
        """Let a worker take trials again."""
        return self.act(f"/workers/{worker_id}/undrain")
