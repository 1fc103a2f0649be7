"""Word alignments from attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nmt.data.tokenizer import BOS
from nmt.errors import NmtError, UsageError
from nmt.evaluation.align import END, Selection, WordAttention, pool, word_attention, word_ids
from nmt.run import LoadedRun, load_run
from tests.evaluation.runs import MODELS, REFERENCES, SOURCES, make_run, write_texts

ATTENTIONAL = [family for family in MODELS if family != "rnn_encdec"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedRun]:
    folder = tmp_path_factory.mktemp("runs")
    write_texts(folder)
    return {family: load_run(make_run(folder / family, family, folder)) for family in MODELS}


def test_words_of_pieces() -> None:
    assert word_ids(["▁Der", "▁gr", "ün", "e", "▁", "Hut", "."]) == [0, 1, 1, 1, 2, 2, 2]
    assert word_ids(["D", "er", "▁▁", "Hut"]) == [0, 0, 1, 1]
    assert word_ids(["▁5\u00a0km"]) == [0], "a piece over two words counts for the first"
    assert word_ids([]) == []


def test_pooling_sums_over_source_pieces_and_averages_over_target_pieces() -> None:
    weights = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.1, 0.3], [0.0, 0.0, 1.0, 0.0]], dtype=np.float32)
    pooled = pool(weights, [0, 0, 1], [0, 0, 1, 2], ["ab"], ["cd", "e"])
    expected = [[(0.3 + 0.6) / 2, (0.3 + 0.1) / 2, (0.4 + 0.3) / 2], [0.0, 1.0, 0.0]]
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


def test_each_target_word_links_to_its_heaviest_source_word_never_to_the_end() -> None:
    weights = np.array([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    attention = WordAttention(["a", "b"], ["x", "y"], weights)
    assert attention.links == [(0, 1), (1, 0)]
    assert attention.labels == (["a", "b", END], ["x", "y", END])


@pytest.mark.parametrize("family", ATTENTIONAL)
def test_words_have_the_weights_of_the_model_forced_alone(runs: dict[str, LoadedRun], family: str) -> None:
    """Batched with others or alone, the weights are those of a single unpadded forward pass, summed word by word."""
    run = runs[family]
    together = word_attention(run.model, run.tokenizer, SOURCES, REFERENCES)
    for source, target, attention in zip(SOURCES, REFERENCES, together, strict=True):
        src = torch.tensor(run.tokenizer.encode_source([source]))
        tgt = run.tokenizer.encode_target([target])[0]
        with torch.no_grad():
            weights = run.model.attention(src, torch.ones_like(src, dtype=torch.bool), torch.tensor([[BOS, *tgt[:-1]]]))
        layer = max(weights.size(1) - 2, 0)
        pieces = weights[0, layer].mean(0).numpy()
        assert attention.source_words == source.split() and attention.target_words == target.split()
        rows = word_ids(run.tokenizer.target_pieces(tgt)[:-1])
        columns = word_ids(run.tokenizer.source_pieces(src[0].tolist())[:-1])
        for row in range(len(attention.target_words)):
            for column in range(len(attention.source_words)):
                block = pieces[:-1, :-1][np.array(rows) == row][:, np.array(columns) == column]
                assert attention.weights[row, column] == pytest.approx(block.sum() / rows.count(row), abs=1e-5)
        np.testing.assert_allclose(attention.weights.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("family", ATTENTIONAL)
def test_empty_lines_have_no_links(runs: dict[str, LoadedRun], family: str) -> None:
    run = runs[family]
    attentions = word_attention(run.model, run.tokenizer, ["", "Ein Hut", "Ein Hut"], ["A hat", "", "A hat"])
    assert [len(one.links) for one in attentions] == [0, 0, 2]


def test_layers_and_heads_are_chosen_or_averaged() -> None:
    weights = torch.rand(3, 4, 5, 6)
    torch.testing.assert_close(Selection()(weights), weights[1].mean(0))
    torch.testing.assert_close(Selection()(weights[:1]), weights[0].mean(0))
    torch.testing.assert_close(Selection(3, 2)(weights), weights[2, 1])
    torch.testing.assert_close(Selection("all")(weights), weights.mean((0, 1)))
    torch.testing.assert_close(Selection("all", 4)(weights), weights[:, 3].mean(0))
    with pytest.raises(UsageError, match=r"--layer 4: .* layers 1 to 3"):
        Selection(4)(weights)
    with pytest.raises(UsageError, match=r"--head 5: .* heads 1 to 4"):
        Selection(1, 5)(weights)


def test_a_language_without_spaces_has_its_pieces_as_words(runs: dict[str, LoadedRun]) -> None:
    run = runs["rnnsearch"]
    (attention,) = word_attention(run.model, run.tokenizer, ["Musikhut"], ["A hat"], languages=("zh", "en"))
    assert len(attention.source_words) > 1
    assert "".join(attention.source_words).replace("▁", "") == "Musikhut"
    assert attention.weights.shape == (3, len(attention.source_words) + 1)


def test_a_model_without_attention_is_refused(runs: dict[str, LoadedRun]) -> None:
    run = runs["rnn_encdec"]
    with pytest.raises(NmtError, match="no attention"):
        word_attention(run.model, run.tokenizer, SOURCES, REFERENCES)
