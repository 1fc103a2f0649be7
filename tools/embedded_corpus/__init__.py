"""A synchronous grammar of German and English that generates the embedded corpus, with gold alignments.

Each sentence is built in both languages at once from one abstract structure. Words that express the same part of it are
linked.
"""
