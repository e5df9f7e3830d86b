"""Pieces made by a thread while others are used: git, zstd and hashes work without the interpreter's lock.

The thread ends with whoever uses the pieces.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

_DEPTH = 16  # pieces that lie ready at most
_PATIENCE_SECONDS = 5.0  # with a source that stands still when nobody wants it any more


@dataclass(slots=True)
class _End:
    """What comes after the last piece: the error that ended them, if one did."""

    error: BaseException | None = None


def ahead(pieces: Generator[bytes]) -> Generator[bytes]:
    """Yield the same pieces, in order, and raise the same error; up to 16 lie ready before they are asked for.

    The generator runs in the thread and is closed there, before this one is; only a source that stands still is left
    behind after 5 s. Where no thread is to be had (a limit of the pod) it runs here.
    """
    made: SimpleQueue[bytes | _End] = SimpleQueue()
    room, unwanted = threading.Semaphore(_DEPTH), threading.Event()

    def work() -> None:
        try:
            for piece in pieces:
                room.acquire()
                if unwanted.is_set():
                    break
                made.put(piece)
            pieces.close()
        except BaseException as error:  # noqa: BLE001 - whoever uses the pieces gets it
            made.put(_End(error))  # and nobody else keeps it: it holds what the generator held
        else:
            made.put(_End())

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    try:
        if not _started(thread):
            yield from pieces
            return
        while not isinstance(piece := made.get(), _End):
            room.release()
            yield piece
    finally:
        unwanted.set()
        room.release()
        if thread.ident is not None:
            thread.join(_PATIENCE_SECONDS)
    if piece.error is not None:
        try:
            raise piece.error
        finally:
            del piece


def _started(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


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
