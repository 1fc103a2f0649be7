"""A synchronous grammar of German and English that generates the embedded corpus, with gold alignments.

One abstract structure is spelled out in both languages at once; words that realise the same part of it are linked.
"""
