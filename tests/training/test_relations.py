"""Test claims of the papers about attention with short trainings on the embedded corpus.

The text is cut down to short sentences and few words, so that a minute is enough. Each margin is about half of the
smallest difference that was found with three seeds.
"""

from __future__ import annotations

from pathlib import Path

from nmt.config.load import load_config
from nmt.inference.translator import Translator
from nmt.resources import embedded_corpus
from nmt.training.train import train

Pair = tuple[str, str]
SEED = 1


def pairs_of(split: str, shortest: int, longest: int) -> list[Pair]:
    """Return the pairs of which both sides have from `shortest` to `longest` words."""
    sides = [(embedded_corpus() / f"{split}.{language}").read_text("utf-8").splitlines() for language in ("de", "en")]
    return [pair for pair in zip(*sides, strict=True) if all(shortest <= len(x.split()) <= longest for x in pair)]  # type: ignore[misc]


def trained(folder: Path, name: str, text: list[Pair], seed: int, *overrides: str) -> Translator:
    """Train a model on the text with a vocabulary of words, without a look at how well it translates."""
    (folder / "text").mkdir(exist_ok=True)
    for split, pairs in (("train", text), ("dev", text[:1]), ("test", text[:1])):
        for language, lines in zip(("de", "en"), zip(*pairs, strict=True), strict=True):
            (folder / "text" / f"{split}.{language}").write_text("\n".join(lines) + "\n", "utf-8")
    settings = {
        "data.path": folder / "text", "data.cache": folder / "cache", "run_dir": folder / name, "seed": seed,
        "tokenizer.algorithm": "word", "training.device": "cpu", "training.threads": 1, "training.max_minutes": "null",
        "training.max_steps": 300, "training.validate_every": 300, "training.tokens_per_update": 1024,
        "training.label_smoothing": 0, "training.schedule.warmup_steps": 30,
        "model.embedding_dim": 64, "model.hidden_dim": 64, "model.dropout": 0,
    }  # fmt: skip
    given = [f"{key}={value}" for key, value in settings.items()]
    train(load_config("embedded", ["training=rnn", *given, *overrides]))
    return Translator.load(folder / name)


def loss(translator: Translator, pairs: list[Pair]) -> float:
    """Return the mean negative log-probability of a target token, in nats."""
    scored = translator.score(*map(list, zip(*pairs, strict=True)))
    return -sum(one.log_prob for one in scored) / sum(len(one.hypotheses[0].tokens) + 1 for one in scored)


def advantages_of_attention(folder: Path, seed: int) -> tuple[float, float]:
    """Return by how much RNNsearch has less loss than the RNN encoder-decoder, in short and in long sentences."""
    text, unseen = pairs_of("train", 3, 14), pairs_of("dev", 3, 14)
    by_length = ([pair for pair in unseen if len(pair[0].split()) in lengths] for lengths in (range(7), range(12, 15)))
    short, long = by_length
    common = ("tokenizer.vocab_size=600", "training.learning_rate=1e-2", "model.maxout_dim=64")
    attending = trained(folder, "rnnsearch", text, seed, "model=rnnsearch", "model.attention_dim=64", *common)
    fixed = trained(folder, "rnn_encdec", text, seed, "model=rnn_encdec", "model.reverse_source=true", *common)
    return loss(fixed, short) - loss(attending, short), loss(fixed, long) - loss(attending, long)


def losses_of_windows(folder: Path, seed: int) -> tuple[float, float]:
    """Return the loss of local-p and of local-m if the target has the words of the source from last to first."""

    def turned(split: str) -> list[Pair]:
        sentences = [english.lower().rstrip(".?").split() for _, english in pairs_of(split, 6, 8)]
        return [(" ".join(reversed(words)), " ".join(words)) for words in sentences]

    text, unseen = turned("train"), turned("dev")
    common = ("tokenizer.vocab_size=400", "training.learning_rate=5e-3", "model=luong")
    windows = ("local_p", "local_m")
    models = [
        trained(folder, name, text, seed, f"model.alignment={name}", f"model.{name}.window=2", *common)
        for name in windows
    ]
    predicted, monotonic = (loss(model, unseen) for model in models)
    return predicted, monotonic


def test_attention_beats_a_fixed_vector_most_of_all_in_long_sentences(tmp_path: Path) -> None:
    """Bahdanau et al. 2015, section 5.1: RNNsearch does not get worse with length, the encoder-decoder does."""
    short, long = advantages_of_attention(tmp_path, SEED)
    assert short > 0.06
    assert long > short + 0.15


def test_a_predicted_window_follows_an_order_that_a_moving_window_cannot(tmp_path: Path) -> None:
    """Luong et al. 2015, section 3.2: local-m assumes that source and target have about the same order of words."""
    predicted, monotonic = losses_of_windows(tmp_path, SEED)
    assert predicted < monotonic - 0.5
