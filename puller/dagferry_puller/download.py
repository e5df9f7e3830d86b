"""Getting an archive: bounded in bytes, time and slowness, and hashed on the way. Nothing is parsed here."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

from dagferry_shared.errors import Reason, Refused, StoreUnreachable
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from dagferry_shared.release import ArchiveInfo, DeltaInfo
    from dagferry_shared.store import BlobReader

GRACE_SECONDS = 10.0  # the rate is not judged before


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow a store may be.

    Attributes:
        seconds: for one archive.
        min_rate: bytes a second on average, once ``GRACE_SECONDS`` have passed.
        clock: monotonic seconds.
    """

    seconds: float
    min_rate: float
    clock: Callable[[], float]

    def check(self, started: float, received: int) -> None:
        """Raise StoreUnreachable once a download takes too long or is too slow."""
        spent = self.clock() - started
        if spent > self.seconds:
            raise StoreUnreachable(f"archive not complete after {self.seconds:.0f} s (--download-timeout)")
        if spent > GRACE_SECONDS and received < spent * self.min_rate:
            raise StoreUnreachable(f"archive comes at {received / spent:.0f} bytes/s (--min-rate {self.min_rate:.0f})")


def download(
    reader: BlobReader,
    key: str,
    info: ArchiveInfo | DeltaInfo,
    into: BinaryIO,
    *,
    pace: Pace,
    progress: Callable[[int], None],
) -> None:
    """Write an archive into an open file and check size and digest.

    Args:
        reader: the store.
        key: the archive's key.
        info: what was signed of it.
        into: empty file; after a failure it holds rubbish.
        pace: limits in time.
        progress: told the number of bytes of each chunk.

    Raises:
        Refused: OVERSIZE at the first chunk too many, WRONG_DIGEST.
        StoreError: from the store, or too slow.
        OSError: the volume's fault.
    """
    started, received, hasher = pace.clock(), 0, hashlib.sha256()
    with closing(reader.stream(key, limit=info.size)) as chunks:
        for chunk in chunks:
            received += len(chunk)
            progress(len(chunk))
            pace.check(started, received)
            hasher.update(chunk)
            into.write(chunk)
    into.flush()
    if received != info.size or hasher.hexdigest() != info.sha256:
        raise Refused(
            Reason.WRONG_DIGEST,
            f"archive {info.sha256[:16]}… has {received} bytes of digest {hasher.hexdigest()[:16]}…, "
            f"signed are {info.size}",
        )
