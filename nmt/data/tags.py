"""Tags: symbols in front of a source sentence that tell the model what kind of sentence it is.

All sentences of a kind, such as back-translated ones (Caswell et al. 2019) or those for one target language (Johnson et
al. 2017), begin with the same symbol of the vocabulary. It is added to the ids, not to the text, so no text can spell
it.
"""

from __future__ import annotations

from collections.abc import Sequence

from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError

Tags = str | Sequence[str | None] | None  # one tag for all lines, one for each line, or none


def tags_of_lines(tags: Tags, lines: int, tokenizer: Tokenizer, always: bool) -> list[str | None]:
    """Return the tag of each line, or None for a line without a tag.

    Raises NmtError for a tag that is not in the vocabulary and, if `always` is true because all training text had tags,
    for a line without a tag.
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
            raise NmtError(f"the model does not know the tag {tag!r}: {which}")
    return each
