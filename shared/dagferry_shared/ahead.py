"""Pieces made by a thread while others are used: git, zstd and hashes work without the interpreter's lock.

The thread ends with whoever uses the pieces.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

_DEPTH = 16  # pieces that lie ready at most
_PATIENCE_SECONDS = 5.0  # with a source that stands still when nobody wants it any more


class _Worker:
    """The thread, and what it has made."""

    def __init__(self, pieces: Generator[bytes]) -> None:
        self._pieces = pieces
        self._room, self._unwanted = threading.Semaphore(_DEPTH), threading.Event()
        self._made: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ahead", daemon=True)

    def _work(self) -> None:
        try:
            for piece in self._pieces:
                self._room.acquire()
                if self._unwanted.is_set():
                    break
                self._made.put(piece)
            self._pieces.close()
        except BaseException as error:  # noqa: BLE001 - whoever uses the pieces gets it
            self._made.put(error)  # and nobody else keeps it: it holds what the generator held
        else:
            self._made.put(None)

    def start(self) -> bool:
        """Tell whether a thread was to be had."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def take(self) -> bytes | BaseException | None:
        """Return the next piece when it is there, or after the last one the error that ended them, if one did."""
        piece = self._made.get()
        self._room.release()
        return piece

    def stop(self) -> None:
        """Wait for the end of the thread, as long as there is a point in it."""
        self._unwanted.set()
        self._room.release()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE_SECONDS)


def ahead(pieces: Generator[bytes]) -> Generator[bytes]:
    """Yield the same pieces, in order, and raise the same error; up to 16 lie ready before they are asked for.

    The generator runs in the thread and is closed there, before this one is; only a source that stands still is left
    behind after 5 s. Where no thread is to be had (a limit of the pod) it runs here.
    """
    worker = _Worker(pieces)
    try:
        if not worker.start():
            yield from pieces
            return
        while isinstance(piece := worker.take(), bytes):
            yield piece
    finally:
        worker.stop()
    if piece is not None:
        try:
            raise piece
        finally:
            del piece


def joined(pieces: Iterable[bytes], least: int) -> Generator[bytes]:
    """Yield the same bytes in pieces of at least so many bytes, but for the last one."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= least:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)
