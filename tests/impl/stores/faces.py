"""The asyncio face of the PostgreSQL store, driven by one call at a time, so that what is written for any store runs on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from leasehold.stores.postgres import AsyncPostgresStore


class Awaited:
    """A store whose every call is a coroutine, awaited to its end."""

    def __init__(self, conninfo: str, **options: Any) -> None:
        self._closed = False
        self._runner = asyncio.Runner()
        self._store: AsyncPostgresStore = self._runner.run(AsyncPostgresStore.open(conninfo, **options))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        call: Callable[..., Coroutine[Any, Any, object]] = found
        return lambda *arguments, **options: self._runner.run(call(*arguments, **options))

    def open_handle(self) -> Awaited:
        """Another handle on the same store, in an event loop of its own."""
        store = self._store
        return type(self)(store._conninfo, **store._options())

    def close(self) -> None:
        """Close the store and its event loop. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._runner.run(self._store.close())
            self._runner.close()
