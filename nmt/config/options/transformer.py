"""The options of mechanisms of the Transformer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from nmt.config.ranges import Count, Dimension, Factor, Layers, Range, Rate

KernelSizes = list[Annotated[int, Range(2, 10_000)]]
Offset = Annotated[int, Range(-1000, 1000)]  # a distance to another position, negative to one before
PlaceName = Literal["encoder_self", "decoder_self", "decoder_cross"]  # the places of attention in a Transformer
Sharing = Literal["none", "headwise", "key_value"]  # of the mixtures of linformer


@dataclass(kw_only=True)
class HeadsConfig:
    """Options of the heads of a Transformer's attention, at all of its places or only at those in `places`."""

    num_kv_heads: Dimension | None = None  # heads of keys and values, which divide num_heads; null: num_heads
    qk_norm: Literal["none", "l2", "rms"] = "none"  # normalise queries and keys: by their length, or root mean square
    qk_length: Annotated[int, Range(2, 100_000)] = 100  # qk_norm=l2: length of a long sentence, for the first scale
    talking: bool = False  # talking heads: mix the scores, and the weights, of all heads
    dropout: Rate = 0.0  # rate at which whole heads are left out in training
    places: list[PlaceName] = field(default_factory=lambda: list(get_args(PlaceName)))  # where these options hold
    removed: list[str] = field(default_factory=list)  # heads that are not there: PLACE.LAYER.HEAD, counted from 0


@dataclass(kw_only=True)
class SlidingConfig:
    """Options of sliding, attention to a window around each position (Beltagy et al. 2020)."""

    window: Count = 16  # positions at most this far away can be attended to


@dataclass(kw_only=True)
class DilatedConfig:
    """Options of dilated, attention to a window with gaps around each position (Beltagy et al. 2020)."""

    window: Count = 8  # positions on either side that can be attended to, besides the own
    dilation: Count = 2  # distance between them; 1: a window without gaps, like sliding


@dataclass(kw_only=True)
class BlocksConfig:
    """Options of blocks, attention within blocks of positions (Liu et al. 2018)."""

    size: Count = 16  # length of a block


@dataclass(kw_only=True)
class StridedConfig:
    """Options of strided, attention to a window and to every position at a multiple of a stride (Child et al. 2019)."""

    stride: Count = 8  # size of the window, and distance between the other positions


@dataclass(kw_only=True)
class WindowGlobalConfig:
    """Options of window_global, a window and a few positions that see all and are seen by all (Beltagy et al. 2020)."""

    window: Count = 16  # positions at most this far away can be attended to
    tokens: Count = 1  # the first positions of a sentence, which are global


@dataclass(kw_only=True)
class BigBirdConfig:
    """Options of bigbird, attention to neighbouring, global and random blocks (Zaheer et al. 2020)."""

    block: Count = 8  # positions in a block
    window: Annotated[int, Range(0, 10_000)] = 1  # blocks on either side of the own that can be attended to
    global_blocks: Annotated[int, Range(0, 10_000)] = 1  # the first blocks, which see all others and are seen by them
    random_blocks: Annotated[int, Range(0, 100)] = 1  # blocks drawn for each block among the others
    seed: Annotated[int, Range(0, 2**31 - 1)] = 1  # other seeds draw other blocks


@dataclass(kw_only=True)
class FixedGaussianConfig:
    """Options of fixed_gaussian, attention that prefers near positions by a Gaussian (Guo et al. 2019)."""

    sigma: Annotated[float, Range(0.1, 10_000)] = 2.0  # standard deviation of the Gaussian, in positions
    self_penalty: Annotated[float, Range(0, 1000)] = 0.0  # -b: what a position pays for attention to itself


@dataclass(kw_only=True)
class HardCodedConfig:
    """Options of hard_coded, attention with fixed Gaussians around neighbours of each position (You et al. 2020)."""

    sigma: Annotated[float, Range(0.1, 1000)] = 1.0  # standard deviation of the Gaussians, in positions
    encoder_offsets: list[Offset] = field(default_factory=lambda: [-1, 1])  # where heads look, by turns; -1: one before
    decoder_offsets: list[Offset] = field(default_factory=lambda: [-1, 0])  # the same in a decoder


@dataclass(kw_only=True)
class ShareLayersConfig:
    """Options of layers with the same weights (Dehghani et al. 2019; Lan et al. 2020)."""

    encoder: Layers | None = None  # different layers of the encoder, used in turn; 1: all are the same; null: none are
    decoder: Layers | None = None  # different layers of the decoder, used in turn; 1: all are the same; null: none are


@dataclass(kw_only=True)
class HaltingConfig:
    """Options of halting: each position decides how many layers it goes through (Graves 2016; Dehghani et al. 2019)."""

    encoder: bool = False  # whether source positions halt
    decoder: bool = False  # whether target positions halt
    penalty: Annotated[float, Range(0, 1000)] = 0.01  # weight of the ponder cost: about the number of layers per token
    epsilon: Factor = 0.01  # a position halts when its halting probabilities sum to 1 - epsilon
    initial: Factor = 0.1  # halting probability of a layer at the start: about (1 - epsilon) / initial layers are used


@dataclass(kw_only=True)
class AdaptiveSpanConfig:
    """Options of adaptive_span, attention whose heads learn how far they see (Sukhbaatar et al. 2019)."""

    max_span: Annotated[int, Range(1, 100_000)] = 64  # the longest span z of a head, in positions
    ramp: Annotated[int, Range(1, 100_000)] = 8  # R: positions beyond the span over which weights fall to zero
    initial: Annotated[float, Range(0, 100_000)] = 8.0  # z of each head at the start
    penalty: Annotated[float, Range(0, 1000)] = 0.0001  # weight of the loss: each layer's mean span, added over layers


@dataclass(kw_only=True)
class LearnedConfig:
    """Options of learned positions: a vector for each position is added to the embeddings (Gehring et al. 2017)."""

    max_length: Annotated[int, Range(1, 100_000)] = 1024  # positions with a vector; those beyond share the last one


@dataclass(kw_only=True)
class LinformerConfig:
    """Options of linformer, attention to k learned mixtures of all words (Wang et al. 2020)."""

    k: Dimension = 32  # number of mixtures
    max_length: Dimension = 256  # source tokens beyond this position are in no mixture
    sharing: Sharing = (
        "key_value"  # none: each head has its own; headwise: heads share them; key_value: also keys and values
    )


@dataclass(kw_only=True)
class LshConfig:
    """Options of lsh, attention among words with the same hash (Kitaev et al. 2020)."""

    rounds: Annotated[int, Range(1, 64)] = 4  # rounds of hashing; more find more of the words that are alike
    buckets: Annotated[int, Range(2, 100_000)] = 8  # values of a hash, an even number
    chunk: Dimension = 16  # words sorted by hash are cut into chunks; one sees its own and the one before


@dataclass(kw_only=True)
class NystroemConfig:
    """Options of nystroem, self-attention approximated with landmarks (Xiong et al. 2021)."""

    landmarks: Dimension = 16  # segments of a sentence, whose means stand for all of their words
    iterations: Annotated[int, Range(1, 30)] = 6  # steps in the computation of the pseudo-inverse
    skip_radius: Annotated[int, Range(0, 1000)] | None = None  # add a convolution of the values that reads so far


@dataclass(kw_only=True)
class RotaryConfig:
    """Options of rotary positions: queries and keys are turned by position x theta_i (Su et al. 2021)."""

    base: Annotated[float, Range(1, 1e12, above=True)] = 10000.0  # theta_i = base^(-2i/head_dim); larger: slower turns


@dataclass(kw_only=True)
class ShawConfig:
    """Options of relative positions: a learned vector for each distance between two tokens (Shaw et al. 2018)."""

    max_distance: Annotated[int, Range(0, 10_000)] = 16  # k: larger distances share the vectors of distance k
    values: bool = True  # add the vectors to keys and values; false: to keys only


@dataclass(kw_only=True)
class PerformerConfig:
    """Options of FAVOR+, the attention of Performers, which estimates softmax attention (Choromanski et al. 2021)."""

    features: Annotated[int, Range(1, 65_536)] = 256  # m: random features of a query or key; more: a better estimate


@dataclass(kw_only=True)
class AverageConfig:
    """Options of the average attention network in the place of a decoder's self-attention (Zhang et al. 2018)."""

    feed_forward: bool = True  # a network like those of model.ffn_dim reads the average; false: no network


@dataclass(kw_only=True)
class T5Config:
    """Options of relative position buckets: a learned bias for each range of distances (Raffel et al. 2020)."""

    num_buckets: Annotated[int, Range(4, 256)] = 32  # buckets of distances; best even: half for each side in an encoder
    max_distance: Annotated[int, Range(2, 10_000)] = 128  # this distance and all beyond it share a bucket


@dataclass(kw_only=True)
class TransparentConfig:
    """Options of transparent attention: to a learned, weighted sum of all encoder layers (Bapna et al. 2018)."""

    dropout: Rate = 0.0  # dropout rate of the layers' scores, before their softmax


@dataclass(kw_only=True)
class MambaConfig:
    """Options of Mamba, a selective state space model in the place of self-attention (Gu and Dao 2023)."""

    state_dim: Annotated[int, Range(1, 10_000)] = 16  # N: numbers that each channel remembers
    expansion: Annotated[int, Range(1, 100)] = 2  # E: channels for each of model.model_dim
    kernel_size: Annotated[int, Range(1, 1000)] = 4  # positions that the convolution before the state reads
    delta_rank: Annotated[int, Range(0, 1_000_000)] = 0  # R: rank of the projection to Delta; 0: model_dim / 16


@dataclass(kw_only=True)
class ConvolutionConfig:
    """Options of a convolution in the place of self-attention (Wu et al. 2019)."""

    kernel_sizes: KernelSizes = field(default_factory=lambda: [3, 7, 15, 31])  # k by layer; later layers have the last
    dropout: Rate = 0.0  # DropConnect: dropout rate of the normalised kernels

    def kernel_size(self, layer: int) -> int:
        """Return the size of a layer's kernels (from 0): the last of `kernel_sizes` if it has not as many as layers."""
        return self.kernel_sizes[min(layer, len(self.kernel_sizes) - 1)]


@dataclass(kw_only=True)
class SynthesizerConfig:
    """Options of a synthesizer, whose scores do not compare pairs of words (Tay et al. 2021)."""

    max_length: Annotated[int, Range(1, 10_000)] = 256  # tokens beyond this position get no attention
