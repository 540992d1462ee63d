"""What waits to be sent to a client: bounded, and of the partials of a segment the newest alone."""

import asyncio
from collections import deque
from typing import Deque, Union

from utils.live.events import Event, Final, Partial

Item = Union[Event, str]  # events, and messages that are encoded


class Full(Exception):
    """The client does not read what is sent to it."""


class Outbox:
    """A queue of one session. A client that reads slowly gets fewer partials and every final."""

    def __init__(self, most: int) -> None:
        """most: items that may wait."""
        self._items: Deque[Item] = deque()
        self._most, self._there = most, asyncio.Event()

    def put(self, item: Item) -> None:
        """Add an item; raises Full."""
        last = self._items[-1] if self._items else None
        if isinstance(last, Partial) and isinstance(item, (Partial, Final)) and item.segment == last.segment:
            self._items.pop()  # nobody has seen it, and this one says more
        if len(self._items) >= self._most:
            raise Full
        self._items.append(item)
        self._there.set()

    async def get(self) -> Item:
        """The next item; waits for one."""
        while not self._items:
            self._there.clear()
            await self._there.wait()
        return self._items.popleft()
