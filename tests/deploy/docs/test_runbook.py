"""The commands of the runbook and the guides, run as they stand where they apply; what they print is compared.

``<!-- run: SCENE -->`` above a block says what has happened before (``support.scenes``); blocks of one section and
scene are run one after the other. ``# exit N`` behind a command says how it ends, else with 0. In a ``text`` block
below, each line was printed, in this order; digests, times, numbers and addresses differ, and ``…`` is anything.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from support import docblocks
from support.desks import missing, with_exit_codes
from support.scenes import SCENES

if TYPE_CHECKING:
    from support.desks import Desk
    from support.docblocks import Block

BLOCKS = [block for page in docblocks.pages() for block in docblocks.blocks(page) if block.kind == "run"]
GROUPS = [list(group) for _, group in itertools.groupby(BLOCKS, lambda block: (block.page, block.anchor, block.words))]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[0].page}#{group[0].anchor}:{group[0].words}")
def test_blocks_of_a_section_run_as_they_stand(group: list[Block], desk: Desk) -> None:
    assert group[0].words in SCENES, f"{group[0]}: no scene {group[0].words}; there are {', '.join(SCENES)}"
    SCENES[group[0].words](desk)
    for block in group:
        printed = desk.run(block.text)
        if os.environ.get("SHOW"):  # to write a page: SHOW=1 pytest -s
            print(f"\n=== {block}\n{printed.text}")
        assert printed.code == 0, f"{block}: exit {printed.code}\n{printed.text}"
        lacks = missing(block.printed, printed.text)
        assert not lacks, f"{block}: not printed: {lacks}\n{printed.text}"


def test_what_is_not_printed_is_found() -> None:
    printed = "channel main is at 0123456789ab since 2026-01-01 10:00:00\n10.1.2.3:9474  live\n"
    assert not missing("channel main is at 3f2a91c… since 2025-12-31 00:00:01\n127.0.0.1:1 live\n", printed)
    assert not missing("… is at …\n", printed)
    assert missing("127.0.0.1:1 live\nchannel main is at 3f2a91c since 2025-12-31 00:00:01\n", printed), "the order"
    assert missing("channel main is held\n", printed) == "channel main is held"


def test_exit_codes_are_demanded() -> None:
    checked = with_exit_codes("dagctl status   # it is held: exit 13\ndagctl why \\\n  main  # exit 5\ntrue  # exits\n")
    assert checked.splitlines()[0].startswith('code=0; dagctl status || code=$?; [ "$code" = 13 ]')
    assert checked.splitlines()[1].startswith('code=0; dagctl why main || code=$?; [ "$code" = 5 ]')
    assert checked.splitlines()[2] == "true  # exits"
