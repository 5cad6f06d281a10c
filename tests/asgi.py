"""Requests to an application without a server: each runs in an event loop of its own."""

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI


class Caller:
    """Calls an application as httpx would call a server. The application's lifespan is not run."""

    def __init__(self, app: FastAPI, *, base_url: str = "http://localhost", token: str | None = None) -> None:
        self.app, self._base_url = app, base_url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **request: Any
    ) -> httpx.Response:
        return asyncio.run(self._request(method, path, {**self._headers, **(headers or {})}, request))

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.request("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.request("POST", path, **request)

    async def _request(
        self, method: str, path: str, headers: dict[str, str], request: dict[str, Any]
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=self._base_url) as client:
            return await client.request(method, path, headers=headers, **request)
