"""Tags: a symbol before the source that says what a model should make of it.

Sentences of one kind, such as back-translated ones (Caswell et al. 2019), or for one target language (Johnson et al.
2017) begin with a symbol of the vocabulary. It is put before the ids and not into the text, so no text can spell it.
"""

from __future__ import annotations

from collections.abc import Sequence

from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError

Tags = str | Sequence[str | None] | None  # of some lines: one for all, one for each, or none


def tags_of_lines(tags: Tags, lines: int, tokenizer: Tokenizer, always: bool) -> list[str | None]:
    """The tag of each line; `always`: the model knows no text without one.

    Raises NmtError for a tag that is not in the vocabulary, and for none where there must be one.
    """
    each = [tags] * lines if tags is None or isinstance(tags, str) else list(tags)
    if len(each) != lines:
        raise NmtError(f"{len(each)} tags were given for {lines} lines: give one for each, or one for all")
    known = ", ".join(tokenizer.tags)
    for tag in dict.fromkeys(each):
        if tag is None and always:
            raise NmtError(f"all text that this model was trained on had a tag: give one of {known} (--tag TAG)")
        if tag is not None and tag not in tokenizer.tags:
            which = f"its tags are {known}" if known else "it was trained without tags"
            raise NmtError(f"the model knows no tag {tag}: {which}")
    return each
