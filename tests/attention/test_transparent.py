"""Transparent attention and its paper agree, in values and gradients."""

from __future__ import annotations

import dataclasses
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from nmt.attention.contract import Encoded
from nmt.attention.cross.transparent import TransparentAttention
from nmt.attention.heads import Heads
from nmt.config.models import TransformerConfig
from nmt.models.build import build_model
from tests.attention.papers.transparent import attention, mixed_layers
from tests.models.variants import TRANSFORMER, random_batch, tiny_model

DIM, HEADS, LAYERS = 6, 2, 3  # of the encoder; the decoder has two
LENGTHS, TGT_LEN = [4, 2, 5], 3


def halves(linear: nn.Linear) -> list[tuple[Tensor, Tensor]]:
    """Split a projection of keys and values into (weight, bias) for keys and for values."""
    return list(zip(linear.weight.chunk(2), linear.bias.chunk(2), strict=True))


def parameters_of(layer: TransparentAttention) -> dict[str, tuple[Tensor, Tensor]]:
    key, value = halves(layer.kv_projection)
    query, output = layer.query_projection, layer.output_projection
    return {"query": (query.weight, query.bias), "key": key, "value": value, "output": (output.weight, output.bias)}


def test_values_and_gradients_match_the_paper() -> None:
    torch.manual_seed(1)
    decoder = [TransparentAttention(DIM, Heads(DIM, HEADS), LAYERS).double() for _ in range(2)]
    for parameter in chain.from_iterable(layer.parameters() for layer in decoder):
        nn.init.normal_(parameter)
    _, mask = random_batch(LENGTHS)
    h = torch.randn(len(LENGTHS), LAYERS + 1, max(LENGTHS), DIM, dtype=torch.float64, requires_grad=True)
    x = torch.randn(2, len(LENGTHS), TGT_LEN, DIM, dtype=torch.float64, requires_grad=True)  # per decoder layer
    encoded = Encoded(h[:, -1], mask, (), h)
    ours, shown = [], []
    for layer, query in zip(decoder, x, strict=True):
        attended = layer.over(layer.read(encoded), need_weights=True)(query, torch.arange(TGT_LEN).unsqueeze(0), None)
        ours.append(attended.context)
        shown.append(attended.weights)
    w = torch.stack([layer.layer_scores for layer in decoder], dim=1)
    theirs = torch.zeros_like(x)
    for row, length in enumerate(LENGTHS):
        z = mixed_layers(w, list(h[row, :, :length]))
        for j, layer in enumerate(decoder):
            context, weights = attention(x[j, row], z[j], HEADS, **parameters_of(layer))
            theirs[j, row] = context
            torch.testing.assert_close(shown[j][row, ..., :length], weights)
            assert not shown[j][row, ..., length:].any()
    torch.testing.assert_close(torch.stack(ours), theirs)
    of = torch.randn_like(theirs)  # the weights of the outputs in a sum
    inputs = {"h": h, "x": x} | {
        f"{j}.{name}": value for j, layer in enumerate(decoder) for name, value in layer.named_parameters()
    }
    found, expected = (
        torch.autograd.grad((of * outputs).sum(), list(inputs.values())) for outputs in (torch.stack(ours), theirs)
    )
    for name, one, other in zip(inputs, found, expected, strict=True):
        assert other.abs().max() > 0.01, name
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")


def test_layers_are_the_embeddings_and_every_output_through_the_final_norm() -> None:
    model = tiny_model("transformer-transparent")
    encoder = model.encoder
    src, mask = random_batch(LENGTHS)
    encoded = encoder(src, mask, need_layers=True)
    positions = torch.arange(src.size(1)).unsqueeze(0)
    x = encoder.embedding(src, positions)
    outputs = [x]
    for layer in encoder.layers:
        x, _ = layer(x, positions, mask)
        outputs.append(x)
    assert isinstance(encoder.norm, nn.LayerNorm)
    torch.testing.assert_close(encoded.layers, torch.stack([encoder.norm(output) for output in outputs], dim=1))
    torch.testing.assert_close(encoded.layers[:, -1], encoded.states)
    assert encoder(src, mask).layers is None, "layers are kept only for decoders that read them"


def test_training_begins_with_the_mean_of_all_layers() -> None:
    model = build_model(TransformerConfig(**TRANSFORMER, decoder_cross="transparent"), 11, 11).eval()  # type: ignore[arg-type]
    src, mask = random_batch(LENGTHS)
    encoded = model.encoder(src, mask, need_layers=True)
    for layer, source in zip(model.decoder.layers, model.decoder.read(encoded).layers, strict=True):
        expected = layer.cross_attention.source(encoded.layers.mean(dim=1), mask)
        torch.testing.assert_close(tuple(source), tuple(expected))


def test_each_layer_of_a_mixed_decoder_reads_what_its_name_says() -> None:
    model = tiny_model("transformer-softmax-transparent")
    src, mask = random_batch(LENGTHS)
    encoded = model.encoder(src, mask, need_layers=True)
    last, mixed = (layer.cross_attention for layer in model.decoder.layers)
    with torch.no_grad():
        mixed.layer_scores.copy_(torch.tensor([1.0, 2.0, 0.5]))
    first, second = model.decoder.read(encoded).layers
    torch.testing.assert_close(tuple(first), tuple(last.source(encoded.states, mask)))
    s = mixed.layer_scores.exp() / mixed.layer_scores.exp().sum()
    z = sum(s[i] * encoded.layers[:, i] for i in range(3))
    torch.testing.assert_close(tuple(second), tuple(mixed.source(z, mask)))


@pytest.mark.parametrize("cross", ["softmax", "transparent"])
def test_the_encoder_is_asked_for_its_layers_only_where_one_is_read(cross: str) -> None:
    model = build_model(TransformerConfig(**TRANSFORMER, decoder_cross=cross), 11, 11)  # type: ignore[arg-type]
    assert model.decoder.reads_layers == (cross == "transparent")


def test_dropout_is_of_w_so_that_weights_still_sum_to_one() -> None:
    config = TransformerConfig(**TRANSFORMER, decoder_cross="transparent")  # type: ignore[arg-type]
    config = dataclasses.replace(config, transparent=dataclasses.replace(config.transparent, dropout=0.5))
    torch.manual_seed(1)
    attention = build_model(config, 11, 11).decoder.layers[0].cross_attention
    with torch.no_grad():
        attention.layer_scores.copy_(torch.tensor([1.0, -2.0, 0.5]))
    eye = torch.eye(3).unsqueeze(1)  # [layers, src_len = 1, dim = layers]: z is s itself
    seen = []
    attention.source = lambda states, mask: seen.append(states.flatten())
    encoded = Encoded(eye[-1:], torch.ones(1, 1, dtype=torch.bool), (), eye.unsqueeze(0))
    for _ in range(64):
        attention.read(encoded)
    w = attention.layer_scores.detach()
    possible = [torch.softmax(2 * w * kept, 0) for kept in torch.cartesian_prod(*[torch.arange(2)] * 3)]
    which = {next(i for i, s in enumerate(possible) if torch.allclose(s, each, atol=1e-4)) for each in seen}
    assert which == set(range(8)), "each element of W is dropped or doubled independently"
    attention.eval().read(encoded)
    torch.testing.assert_close(seen[-1], torch.softmax(w, 0))
