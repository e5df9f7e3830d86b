"""One way to say: this is refused, for exactly this reason."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from dagferry_shared.errors import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def refused(reason: Reason = Reason.MALFORMED, text: str = "") -> Iterator[None]:
    """Demand a Refused with this reason whose detail is one line that holds ``text``."""
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.reason is reason, caught.value
    assert text in caught.value.detail
    assert "\n" not in caught.value.detail


def short(value: object) -> str:
    """Name a parameter by its beginning: whole ids of a megabyte end up in the environment."""
    return ascii(value[:200] if isinstance(value, str | bytes) else value)[:40]
