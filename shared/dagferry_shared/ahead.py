"""Pieces made by a thread while others are used: git, zstd and hashes work without the interpreter's lock.

The thread ends with whoever uses the pieces: it never reads a file that was closed behind it.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

_DEPTH = 16  # pieces that are ready at most


@dataclass(slots=True)
class _End:
    """What comes after the last piece: the error that ended them, if one did."""

    error: BaseException | None = None


def ahead(pieces: Generator[bytes]) -> Generator[bytes]:
    """Yield the same pieces, in order, and raise the same error; up to 16 are made before they are asked for.

    The generator runs in the thread and is closed there, before this one is.
    """
    made: SimpleQueue[bytes | _End] = SimpleQueue()
    room, unwanted = threading.Semaphore(_DEPTH), threading.Event()

    def work() -> None:
        end = _End()
        try:
            for piece in pieces:
                made.put(piece)
                room.acquire()
                if unwanted.is_set():
                    break
            pieces.close()
        except BaseException as error:  # noqa: BLE001 - whoever uses the pieces gets it
            end.error = error
        made.put(end)

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(piece := made.get(), _End):
            room.release()
            yield piece
    finally:
        unwanted.set()
        room.release()
        thread.join()
    if piece.error is not None:
        raise piece.error


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
