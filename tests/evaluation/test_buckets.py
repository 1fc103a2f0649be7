"""Tests of BLEU by source length."""

from __future__ import annotations

from nmt.evaluation.buckets import bucket_scores, length_buckets, source_lengths
from nmt.evaluation.metrics import corpus_bleu
from nmt.evaluation.significance import Statistics


def test_every_sentence_is_in_the_bucket_of_its_length() -> None:
    lengths = [1, 10, 11, 15, 16, 60, 0, 51, 50]
    buckets = length_buckets(lengths, least=1)
    assert sorted(index for bucket in buckets for index in bucket.sentences) == list(range(len(lengths)))
    for bucket in buckets:
        for index in bucket.sentences:
            assert lengths[index] <= (bucket.longest or 1000)
            assert lengths[index] >= bucket.shortest or lengths[index] == 0
    assert [bucket.label for bucket in buckets] == ["1-10", "11-15", "16-20", "36-50", "51+"]


def test_small_buckets_join_their_neighbour_and_nothing_is_lost() -> None:
    lengths = [5] * 3 + [12] * 30 + [18] * 30 + [23] * 2 + [60] * 3
    buckets = length_buckets(lengths, least=20)
    assert [(bucket.label, len(bucket.sentences)) for bucket in buckets] == [("1-15", 33), ("16+", 35)]


def test_a_bucket_scores_as_its_sentences_alone() -> None:
    references = ["a b c d e f g h", "i j k l m n", "o p q r s t u v w x y z"]
    hypotheses = ["a b c d e x g h", "i j k l m n", "o p q r z t u v w x y z"]
    buckets = length_buckets([3, 3, 20], edges=(10,), least=1)
    expected = [corpus_bleu(hypotheses[:2], references[:2]).score, corpus_bleu(hypotheses[2:], references[2:]).score]
    assert bucket_scores(Statistics("bleu", hypotheses, references), buckets) == expected


def test_length_is_words_or_characters() -> None:
    assert source_lengths(["ein  Haus am See", ""], "de") == [4, 0]
    assert source_lengths(["今天 天气好"], "zh") == [5]
