"""What pages of documentation hold: fenced blocks, the comment that says how each is tested, headings, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
SHELL = {"bash", "sh", "shell", "console"}
_MARKER = re.compile(r"<!-- (?P<kind>[a-z ]+?)(?:: (?P<words>.+?))? -->")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: path below the repository.
        line: of its fence.
        anchor: of the heading above it.
        language: after the fence.
        kind: of the comment right above it, empty without one: ``run``, ``not run`` and others.
        words: of that comment, after a colon.
        text: content.
        printed: content of the ``text`` block that follows: what it prints.
    """

    page: str
    line: int
    anchor: str
    language: str
    kind: str
    words: str
    text: str
    printed: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return the pages for users and operators."""
    found = [TOP / "README.md", TOP / "SECURITY.md", *TOP.glob("puller/*.md"), *TOP.glob("publisher/*.md")]
    return sorted(found + list(TOP.glob("deploy/**/*.md")))


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitLab and GitHub make it."""
    kept = "".join(c for c in heading.strip().lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """Return all anchors of a page: of its headings, and written ones."""
    text = page.read_text(encoding="utf-8")
    return set(re.findall(r'<a id="([^"]+)">', text)) | {slug(words) for _, words in _headings(text)}


def _headings(text: str) -> Iterator[tuple[int, str]]:
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= _FENCE.match(line) is not None or line.strip() == "```"
        if not fenced and re.match(r"#{1,6} ", line):
            yield number, line.lstrip("#").strip()


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order; what a block prints is part of it."""
    lines = page.read_text(encoding="utf-8").splitlines()
    headings = dict(_headings("\n".join(lines)))
    found: list[Block] = []
    anchor, number = "", 0
    while number < len(lines):
        anchor = slug(headings[number + 1]) if number + 1 in headings else anchor
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = next(n for n in range(number + 1, len(lines)) if lines[n].strip() == "```")
        text = "\n".join(line.removeprefix(fence["indent"]) for line in lines[number + 1 : end]) + "\n"
        if fence["language"] == "text" and found and not "".join(lines[found[-1].line + _height(found[-1]) : number]):
            found[-1] = Block(**{**vars(found[-1]), "printed": text})
        else:
            marker = _MARKER.fullmatch(lines[number - 1].strip()) if number else None
            kind, words = (marker["kind"], marker["words"] or "") if marker else ("", "")
            name = str(page.relative_to(TOP))
            found.append(Block(name, number + 1, anchor, fence["language"], kind, words, text, ""))
        number = end + 1
    return found


def _height(block: Block) -> int:
    """Return the lines from a block's fence to its end."""
    return block.text.count("\n") + 1


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each relative link of a page: path (empty: the page itself) and anchor (may be empty)."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield path, anchor


def spans(page: Path) -> list[str]:
    """Return the code spans of a page that begin with a command of ours and have an option."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))
    return [span for span in found if re.match(r"(dagctl|dagferry-puller|dagferry-check) ", span) and " --" in span]
