"""Where each object lives below the store's URL. ``v1`` changes only with a format that old pullers cannot read."""

from __future__ import annotations

import re

from dagferry_shared.values import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Object keys of one bundle (its name must have passed ``names.name``)."""

    bundle: str

    @property
    def root(self) -> str:
        """Prefix of everything of this bundle."""
        return f"{self.bundle}/v1/"

    def archive(self, digest: str) -> str:
        """Key of an archive by the SHA-256 of its bytes."""
        return f"{self.root}archives/{digest}.tar.zst"

    def release(self, digest: str) -> str:
        """Key of a release by the SHA-256 of its envelope."""
        return f"{self.root}releases/{digest}.json"

    def channel(self, channel: str) -> str:
        """Prefix of everything of one channel."""
        return f"{self.root}channels/{channel}/"

    def pointer(self, channel: str) -> str:
        """Key of the only mutable object but for the cut."""
        return f"{self.channel(channel)}pointer.json"

    def cut(self, channel: str) -> str:
        """Key of what says where the channel's history begins; there is none until something was removed."""
        return f"{self.channel(channel)}cut.json"

    def history(self, channel: str) -> str:
        """Prefix of the history copies of a channel."""
        return f"{self.channel(channel)}history/"

    def history_entry(self, channel: str, epoch: int, sequence: int) -> str:
        """Key of one history copy."""
        return f"{self.history(channel)}{epoch}-{sequence}.json"

    def scratch(self, random: str) -> str:
        """Key of an object that only proves that conditional writes work."""
        return f"{self.root}scratch/{random}"


def history_position(key: str) -> tuple[int, int] | None:
    """Read (epoch, sequence) out of a history key; None for a key that is no history copy's."""
    match = re.fullmatch(r"([1-9]\d{0,15})-([1-9]\d{0,15})\.json", key.rsplit("/", 1)[-1], re.ASCII)
    return (int(match[1]), int(match[2])) if match else None
