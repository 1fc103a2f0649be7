"""The attention mechanisms that a model's configuration can name, and which of them fit together.

A name is also that of a file (a position mechanism is in nmt/attention/positions, a mixer in nmt/attention/mixers, and
so on), but for the scores, which share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from nmt.config.options.transformer import PlaceName
from nmt.errors import require

PositionName = Literal["sinusoidal", "none", "rotary", "alibi", "shaw", "learned", "t5"]
PatternName = Literal[
    "sliding",
    "dilated",
    "blocks",
    "strided",
    "window_global",
    "bigbird",
    "fixed_gaussian",
    "learned_gaussian",
    "adaptive_span",
]  # self-attention to some of the positions
# self-attention, or a layer that replaces it
MixerName = Literal["softmax", "ssru", PatternName, "mamba", "light_conv", "dynamic_conv", "synthesizer_random",
                    "synthesizer_dense", "linear", "performer", "retention", "average", "hard_coded", "fnet",
                    "linformer", "nystroem", "lsh"]  # fmt: skip
CrossName = Literal["softmax", "transparent"]  # a Transformer's attention to the source
# a recurrent decoder's comparison of its state with a source state
ScoreName = Literal["dot", "scaled_dot", "general", "additive", "concat", "location"]
# a recurrent decoder's attention to the source
AlignmentName = Literal["soft", "local_m", "local_p", "gaussian", "coverage", "location_aware", "marginal", "hard",
                        "monotonic"]  # fmt: skip
# the function that turns scores into weights
NormaliserName = Literal["softmax", "sparsemax", "entmax15", "entmax", "rela", "top_k"]
CellName = Literal["gru", "lstm", "sru", "lrn"]  # the recurrent units, each with a file in nmt/models/cells
# keys whose values they are
_KEYS = ("positions", "encoder_self", "decoder_self", "decoder_cross", "score", "alignment", "normaliser")
# by key, the mechanisms with which the weights of a target position need not sum to one (`sums_to_one` of their class)
UNNORMALISED: dict[str, tuple[str, ...]] = {"alignment": ("local_p", "gaussian", "monotonic"), "normaliser": ("rela",)}

PATTERNS = get_args(PatternName)
_IN_SCORES = ("rotary", "alibi", "shaw", "t5")  # positions that act on the scores of self-attention, and nothing else
_WITH_SCORES = ("softmax", "nystroem", "lsh", *PATTERNS)  # mixers with scores that positions can act on
_WHOLE_SEQUENCE = ("fnet", "linformer", "nystroem", "lsh")  # mixers for encoders only
_ORDERLESS = ("linear", "performer")  # mixers that know the order of a source sentence from its embeddings alone


class Place(NamedTuple):
    """A place in a Transformer at which there is attention, or another mixer."""

    key: PlaceName
    layer: int  # counted from 0

    @property
    def causal(self) -> bool:
        """True if a position must not see later ones."""
        return self.key == "decoder_self"


def of_layer(names: str | Sequence[str], layer: int) -> str:
    """Return the mechanism of a layer (from 0), if `names` is one name for all layers or a list of one per layer."""
    return names if isinstance(names, str) else names[layer]


def has_mechanism(model: Any, name: str) -> bool:
    """Return whether a model's configuration has the attention mechanism `name`, such as rotary, in any layer."""
    return any(name in _places(model, key).values() for key in _KEYS)


def check_mechanisms(model: Any) -> None:
    """Raise ConfigError for a mechanism that cannot work in its place in the model, or a list of the wrong length."""
    for key in _KEYS:
        for place, name in _places(model, key).items():
            reason = _refusal(model, key, name)
            require(reason is None, f"{place}={name}{reason}")


def _places(model: Any, key: str) -> dict[str, str]:
    """Return the mechanisms that a key names, by full key: model.KEY for all layers, or model.KEY[LAYER] for each."""
    names = getattr(model, key, None)
    if names is None or isinstance(names, str):
        return {} if names is None else {f"model.{key}": names}
    layers = model.encoder_layers if key.startswith("encoder") else model.decoder_layers
    expected = f"one name for all layers, or a list of {layers}, one for each"
    require(len(names) == layers, f"model.{key}=[{','.join(names)}]: expected {expected}")
    return {f"model.{key}[{layer}]": name for layer, name in enumerate(names)}


def _refusal(model: Any, key: str, name: str) -> str | None:
    """Return why a key cannot have this mechanism, as the end of a sentence that begins `key=name`; None if it can."""
    by_key = {
        "positions": _refused_positions,
        "encoder_self": _refused_mixer,
        "decoder_self": _refused_mixer,
    }
    return by_key.get(key, _refused_in_scores)(model, key, name)


def _refused_positions(model: Any, key: str, name: str) -> str | None:
    """Do what `_refusal` does for positions of a Transformer."""
    match key, name:
        case "positions", "sinusoidal" if model.model_dim % 2:
            return f" needs an even model.model_dim, and {model.model_dim} is odd"
        case "positions", "rotary" if (head_dim := model.model_dim // model.num_heads) % 2:
            return f" needs heads of even size, and model.model_dim / model.num_heads = {head_dim} is odd"
        case "positions", _ if name in _IN_SCORES and (without := _without_positions(model)):
            return (
                f" acts on the scores of self-attention, and {without}: use model.positions=sinusoidal, which is added "
                "to the embeddings, or softmax in one of the layers"
            )
        case "positions", "t5" if model.t5.max_distance <= (exact := model.t5.num_buckets // 2):
            return (
                f" has a bucket for each distance below {exact}, half of model.t5.num_buckets={model.t5.num_buckets}, "
                f"and logarithmic buckets for those up to model.t5.max_distance={model.t5.max_distance}, which has to "
                f"be above {exact}: set it higher, or model.t5.num_buckets lower"
            )
    return None


def _refused_mixer(model: Any, key: str, name: str) -> str | None:
    """Do what `_refusal` does for mixers of a Transformer."""
    match key, name:
        case _, "retention" if (head_dim := model.model_dim // model.num_heads) % 2:
            return f" needs heads of even size, and model.model_dim / model.num_heads = {head_dim} is odd"
        case "encoder_self" | "decoder_self", "adaptive_span" if (
            model.adaptive_span.initial > model.adaptive_span.max_span
        ):
            return (
                f" begins with model.adaptive_span.initial={model.adaptive_span.initial:g}, which is beyond "
                f"model.adaptive_span.max_span={model.adaptive_span.max_span}: set it lower, or max_span higher"
            )
        case "encoder_self", "ssru" | "average":
            what = {"ssru": "an SSRU", "average": "average attention"}[name]
            return (
                f": {what} reads from left to right, so a source word would not see the words after it; it can stand "
                "in model.decoder_self"
            )
        case "decoder_self", "average" if model.average.feed_forward and model.activation not in ("relu", "gelu"):
            return (
                f" has a network with ReLU or GELU, not with model.activation={model.activation}: use relu or gelu, or "
                "model.average.feed_forward=false"
            )
        case "encoder_self" | "decoder_self", "light_conv" | "dynamic_conv" if not getattr(model, name).kernel_sizes:
            return f" needs the size of a kernel, and model.{name}.kernel_sizes=[] has none: put a number into it"
        case "encoder_self" | "decoder_self", "hard_coded" if not getattr(
            model.hard_coded, key.replace("self", "offsets")
        ):
            return (
                f" has heads that look at fixed places, and model.hard_coded.{key.replace('self', 'offsets')} names "
                "none: give it at least one number, such as [0]"
            )
        case "decoder_self", "hard_coded" if max(model.hard_coded.decoder_offsets) > 0:
            return (
                f" looks at positions that are not yet there: model.hard_coded.decoder_offsets="
                f"{model.hard_coded.decoder_offsets} may have no number above 0"
            )
        case _ if name in _WHOLE_SEQUENCE:
            return _refused_whole_sequence(model, key, name)
    return None


def _refused_whole_sequence(model: Any, key: str, name: str) -> str | None:
    """Do what `_refusal` does for mixers that look at a whole sentence at once."""
    match key, name:
        case "decoder_self", "fnet":
            return (
                ": a Fourier transform is of a whole sentence, so a target word would see the words after it; it can "
                "stand in model.encoder_self"
            )
        case "decoder_self", "linformer":
            return (
                " mixes the keys of a whole sentence, so a target word would see the words after it; it can stand in "
                "model.encoder_self"
            )
        case "encoder_self", "linformer" if model.positions in _IN_SCORES:
            return (
                f" attends to mixtures of all words, which have no position of their own, and model.positions="
                f"{model.positions} needs the position of each key: use model.positions=sinusoidal"
            )
        case "decoder_self", "nystroem":
            return (
                " compares words with the means of segments of a whole sentence, so a target word would see the words "
                "after it; it can stand in model.encoder_self"
            )
        case "encoder_self", "nystroem" | "lsh" if model.positions in ("alibi", "shaw", "t5"):
            return (
                f" does not compute the scores of all pairs of words, which model.positions={model.positions} changes: "
                "use model.positions=rotary or sinusoidal"
            )
        case "encoder_self", "nystroem" | "lsh" if model.normaliser != "softmax":
            return (
                f" is defined for a softmax, so that model.normaliser={model.normaliser} would have no effect: use "
                "model.normaliser=softmax, or another model.encoder_self"
            )
        case "encoder_self", "nystroem" | "lsh" if model.heads.talking and "encoder_self" in model.heads.places:
            return (
                " does not compute the scores and weights of all pairs of words, which model.heads.talking mixes: "
                "leave encoder_self out of model.heads.places"
            )
        case "decoder_self", "lsh":
            return (
                " sorts the words of a whole sentence, so that which words a target word sees would depend on the "
                "words after it; it can stand in model.encoder_self"
            )
        case "encoder_self", "lsh" if model.lsh.buckets % 2:
            return f" needs an even model.lsh.buckets, and {model.lsh.buckets} is odd"
        case "encoder_self", "lsh" if "encoder_self" in model.heads.places and (
            model.heads.num_kv_heads not in (None, model.num_heads) or model.heads.qk_norm != "none"
        ):
            return (
                " has one vector for a word as query and as key, so that model.heads.num_kv_heads and "
                "model.heads.qk_norm do not apply: leave encoder_self out of model.heads.places"
            )
    return None


def _refused_in_scores(model: Any, key: str, name: str) -> str | None:
    """Do what `_refusal` does for scores, alignments and normalisers."""
    match key, name:
        case "score", "dot" | "scaled_dot" if model.family == "rnnsearch":
            return (
                f" multiplies two states of one size, but the decoder's has model.hidden_dim={model.hidden_dim} "
                f"numbers and a source state, from two directions, {2 * model.hidden_dim}: model.score=general "
                "projects source states to the other size"
            )
        case "alignment", "local_m" | "local_p" if model.score == "location":
            return (
                " attends to the words in a window, and model.score=location knows no words beyond "
                "model.location.max_length, so that a window could be empty: set another model.score"
            )
        case "alignment", "coverage" | "location_aware" if model.score not in ("additive", "concat"):
            return (
                f" adds a term inside the tanh of an additive score, and model.score={model.score} is not "
                "additive: set model.score=additive"
            )
        case "alignment", "marginal" if getattr(model, "input_feeding", True):
            return (
                " needs a decoder whose next state does not depend on which source position was taken; otherwise it "
                "would have to sum over all sequences of positions: use model=luong with model.input_feeding=false"
            )
        case "alignment", "monotonic" if model.score == "location":
            return (
                " decides at each source word whether to stop there, and model.score=location does not read the words: "
                "set another model.score"
            )
        case "alignment", "monotonic" if model.normaliser != "softmax":
            return (
                f" makes weights of scores by itself, so that model.normaliser={model.normaliser} would have no "
                "effect: use model.normaliser=softmax, which has none here, or another model.alignment"
            )
        case "alignment", "gaussian" if model.normaliser != "softmax":
            return (
                f" has no scores that model.normaliser={model.normaliser} could turn into weights: use "
                "model.normaliser=softmax, which has no effect here, or another model.alignment"
            )
        case "alignment", "gaussian" if model.family == "rnnsearch" and model.cell == "sru":
            return (
                " makes its weights of exp(W s), where the decoder state s reads the context of the step before: with "
                "model.cell=sru, whose states have no bound, both would grow until they overflow: use another "
                "model.cell"
            )
        case "normaliser", "rela" if getattr(model, "alignment", None) == "coverage":
            return (
                " has weights that do not sum to one, and coverage counts by their sum how many target words a source "
                "word has given: use another normaliser, or model.alignment=soft"
            )
        case _ if name in UNNORMALISED.get(key, ()) and getattr(model, "doubly_stochastic", 0.0) > 0:
            return (
                " has weights that do not sum to one, and model.doubly_stochastic asks for a total weight of one for "
                f"each source word: use another model.{key}, or model.doubly_stochastic=0"
            )
        case "alignment", "marginal" | "hard" if model.normaliser != "softmax":
            return (
                " needs the logarithm of every weight, and weights can be zero with "
                f"model.normaliser={model.normaliser}: use model.normaliser=softmax"
            )
    return None


def _without_positions(model: Any) -> str | None:
    """Return, as a clause, why a Transformer needs positions that are not in the scores; None if it does not."""
    encoder, decoder = (set(_places(model, key).values()) for key in ("encoder_self", "decoder_self"))
    if not (encoder | decoder).intersection(_WITH_SCORES):
        return "no layer has such scores"
    if encoder.issubset(_ORDERLESS):
        return "no layer of the encoder has such scores, so that it would not know the order of the source words"
    return None


def unguided(model: Any) -> str | None:
    """Return why attention cannot be guided (training.guided_attention), as the end of a sentence; None if it can."""
    if not hasattr(model, "normaliser"):
        return f"guides attention, and a {model.family} model has none: it reads the source as one fixed vector"
    unlimited = (
        "has weights that can be larger than one, so that the loss, minus the logarithm of a weight, would have no "
        "lower bound"
    )
    if getattr(model, "alignment", None) == "gaussian":
        return f"does not work with model.alignment=gaussian, which {unlimited}: use another alignment"
    if model.family == "transformer" and model.heads.talking and "decoder_cross" in model.heads.places:
        return (
            "does not work with model.heads.talking, whose mixed weights can be negative, so that they have no "
            "logarithm: use model.heads.talking=false, or leave decoder_cross out of model.heads.places"
        )
    if model.normaliser == "rela":
        return f"does not work with model.normaliser=rela, which {unlimited}: use another normaliser"
    return None
