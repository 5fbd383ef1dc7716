"""A rendered card ends in a mark over its text, so that one which somebody edited is known and left alone."""

import hashlib
import re

MARK = re.compile(r"\n*<!-- rendered by simgan ([0-9a-f]{16}); once edited, this card is left as it is -->\s*\Z")


def signed(text: str) -> str:
    """Put the mark under a card."""
    text = _plain(text)
    return f"{text}\n\n<!-- rendered by simgan {_digest(text)}; once edited, this card is left as it is -->\n"


def is_rendered(card: str) -> bool:
    """Whether a card is as it was rendered, mark and all."""
    found = MARK.search(_plain(card))
    return found is not None and found[1] == _digest(_plain(card)[: found.start()])


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
