"""Each model agrees with its paper's equations in float64 NumPy, or with torch's implementation of it."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from nmt.attention.positions.sinusoidal import frequencies, sinusoids
from nmt.config.models import RnnEncDecConfig, TransformerConfig
from nmt.models.build import build_model
from nmt.models.cells.gru import GruCell
from nmt.models.cells.lstm import LstmCell
from nmt.models.recurrent import MaxoutOutput, RnnEncoder
from nmt.models.seq2seq import Seq2Seq
from nmt.models.sequences import reverse
from tests.models.variants import VOCABULARY, random_batch, tiny_model

Array = np.ndarray


def parameters(model: nn.Module) -> dict[str, Array]:
    return {name: value.detach().double().numpy() for name, value in model.state_dict().items()}


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gru(weights: dict[str, Array], known: Array, fed: Array, h: Array) -> Array:
    """Compute update z, reset r, s = (1 - z) s' + z s~ with s~ from r * s' (Bahdanau et al. 2015, A.1.1)."""
    n = h.shape[-1]
    x = known @ weights["cell.input_projection.weight"].T + weights["cell.input_projection.bias"]
    u = weights["cell.recurrent_projection.weight"]
    z = sigmoid(x[:n] + u[:n] @ np.concatenate([fed, h]))
    r = sigmoid(x[n : 2 * n] + u[n : 2 * n] @ np.concatenate([fed, h]))
    candidate = np.tanh(x[2 * n :] + u[2 * n :] @ np.concatenate([fed, r * h]))
    return (1 - z) * h + z * candidate


def lstm(weights: dict[str, Array], prefix: str, known: Array, fed: Array, h: Array, c: Array) -> tuple[Array, Array]:
    x = known @ weights[prefix + "input_projection.weight"].T + weights[prefix + "input_projection.bias"]
    x = x + weights[prefix + "recurrent_projection.weight"] @ np.concatenate([fed, h])
    i, f, g, o = np.split(x, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def one_sentence(model: Seq2Seq) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Array, list[Array]]:
    src, mask = random_batch([6])
    tgt, _ = random_batch([5], seed=3)
    encoded = model.encoder(src, mask)
    return src, mask, tgt, encoded.states[0].detach().double().numpy(), [
        leaf[0].detach().double().numpy() for leaf in encoded.final
    ]  # fmt: skip


def test_rnnsearch_decoder() -> None:
    """Compare s_i, c_i, alpha_ij and t_i of Bahdanau et al. 2015, A.2.2, step by step."""
    model = tiny_model("rnnsearch")
    src, mask, tgt, states, final = one_sentence(model)
    w = parameters(model.decoder)
    hidden = states.shape[1] // 2
    s = np.tanh(w["state_projection.weight"] @ states[0, hidden:] + w["state_projection.bias"])
    expected, alphas = [], []
    for token in tgt[0]:
        y = w["embedding.weight"][token]
        energy = np.tanh(
            w["attention.score.query_projection.weight"] @ s
            + states @ w["attention.score.states_projection.weight"].T
            + w["attention.score.states_projection.bias"]
        )
        alpha = softmax(energy @ w["attention.score.v.weight"][0])
        context = alpha @ states
        t = w["output.projection.weight"] @ np.concatenate([s, y, context]) + w["output.projection.bias"]
        expected.append(t.reshape(-1, 2).max(axis=1))
        alphas.append(alpha)
        s = gru(w, y, context, s)
    assert np.allclose(final[0][0, hidden:], states[0, hidden:], atol=1e-6), "s_0 starts from the backward direction"
    np.testing.assert_allclose(model(src, mask, tgt).hidden[0].detach(), expected, atol=1e-5)
    np.testing.assert_allclose(model.attention(src, mask, tgt)[0, 0, 0].detach(), alphas, atol=1e-5)


def torch_rnn(made: nn.GRU | nn.LSTM) -> nn.GRU | nn.LSTM:
    """Return a new RNN of torch, in float64, with the weights of a model's RNN."""
    sizes = made.input_size, made.hidden_size, made.num_layers
    rnn = type(made)(*sizes, batch_first=True, bidirectional=made.bidirectional).double()
    rnn.load_state_dict({name: value.double() for name, value in made.state_dict().items()})
    return rnn


@pytest.mark.parametrize("name", ["luong-concat-plain", "luong-general-plain", "luong-dot-plain"])
def test_luong_attention(name: str) -> None:
    """Compare h_t, score, a_t, c_t and h~_t of Luong et al. 2015 (section 3.1, eqs. 5 and 7) without input feeding."""
    model = tiny_model(name)
    src, mask, tgt, states, final = one_sentence(model)
    w = parameters(model.decoder)
    first = tuple(torch.from_numpy(leaf).unsqueeze(1) for leaf in final)  # [layers, 1, hidden]
    embedded = torch.from_numpy(w["embedding.weight"][tgt.numpy()])
    reached, _ = torch_rnn(model.decoder.rnn)(embedded, first if len(first) > 1 else first[0])
    hidden = model(src, mask, tgt).hidden[0].detach().numpy()
    for h, attentional in zip(reached[0].detach().numpy(), hidden, strict=True):
        if "dot" in name:
            scores = states @ h
        elif "general" in name:
            scores = (states @ w["output.attention.score.states_projection.weight"].T) @ h
        else:
            joined = np.concatenate([np.tile(h, (len(states), 1)), states], axis=1)
            matrix = np.concatenate(
                [w[f"output.attention.score.{part}_projection.weight"] for part in ("query", "states")], axis=1
            )
            bias = w["output.attention.score.states_projection.bias"]
            scores = np.tanh(joined @ matrix.T + bias) @ w["output.attention.score.v.weight"][0]
        context = softmax(scores) @ states
        expected = np.tanh(w["output.projection.weight"] @ np.concatenate([context, h]))
        np.testing.assert_allclose(attentional, expected, atol=1e-5)


def test_luong_input_feeding() -> None:
    """The first layer reads h~[t-1] and the embedding (section 3.3); h and c start from the encoder's."""
    model = tiny_model("luong-dot")
    src, mask, tgt, states, final = one_sentence(model)
    w = parameters(model.decoder)
    h, c, fed = final[0][0], final[1][0], np.zeros(16)
    expected = []
    for token in tgt[0]:
        h, c = lstm(w, "first_cell.", w["embedding.weight"][token], fed, h, c)
        context = softmax(states @ h) @ states
        fed = np.tanh(w["output.projection.weight"] @ np.concatenate([context, h]))
        expected.append(fed)
    np.testing.assert_allclose(model(src, mask, tgt).hidden[0].detach(), expected, atol=1e-5)


def test_cho_gives_the_context_at_every_step() -> None:
    """Compare c = tanh(V h_N), h'_0 = tanh(V' c), and steps whose input and output read c (Cho et al. 2014, A.1)."""
    model = tiny_model("cho")
    src, mask, tgt, _, final = one_sentence(model)
    w = parameters(model.decoder)
    c = np.tanh(w["context_projection.weight"] @ final[0][0] + w["context_projection.bias"])
    h = np.tanh(w["state_projection.weight"] @ c + w["state_projection.bias"])
    rnn: nn.GRU = model.decoder.rnn
    cell = nn.GRUCell(rnn.input_size, rnn.hidden_size).double()
    cell.load_state_dict({name.removesuffix("_l0"): value.double() for name, value in rnn.state_dict().items()})
    expected = []
    for token in tgt[0]:
        y = w["embedding.weight"][token]
        h = cell(torch.from_numpy(np.concatenate([y, c])), torch.from_numpy(h)).detach().numpy()
        t = w["output.projection.weight"] @ np.concatenate([h, y, c]) + w["output.projection.bias"]
        expected.append(t.reshape(-1, 2).max(axis=1))
    np.testing.assert_allclose(model(src, mask, tgt).hidden[0].detach(), expected, atol=1e-5)


def test_sutskever_starts_from_the_reversed_source() -> None:
    """Each layer of the decoder starts from the last state of an LSTM that reads the words from last to first."""
    model = tiny_model("sutskever")
    src, mask, tgt, _, _ = one_sentence(model)
    encoder, decoder = model.encoder, model.decoder
    _, state = torch_rnn(encoder.rnn)(encoder.embedding.weight.double()[src.flip(1)])
    expected, _ = torch_rnn(decoder.rnn)(decoder.embedding.weight.double()[tgt], state)
    torch.testing.assert_close(model(src, mask, tgt).hidden, expected.float())


def test_lstm_cell_matches_torch() -> None:
    torch.manual_seed(0)
    cell, reference = LstmCell(5, 3, 4), nn.LSTMCell(8, 4)
    with torch.no_grad():
        weight = cell.recurrent_projection.weight
        reference.weight_ih.copy_(torch.cat([cell.input_projection.weight, weight[:, :3]], dim=1))
        reference.weight_hh.copy_(weight[:, 3:])
        reference.bias_ih.copy_(cell.input_projection.bias)
        reference.bias_hh.zero_()
    known, fed, h, c = torch.randn(2, 5), torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    expected = reference(torch.cat([known, fed], dim=1), (h, c))
    for ours, theirs in zip(cell(cell.project(known.unsqueeze(1))[:, 0], fed, (h, c)), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gru_cell_resets_the_state_itself() -> None:
    torch.manual_seed(0)
    cell = GruCell(5, 3, 4)
    known, fed, h = torch.randn(5), torch.randn(3), torch.randn(4)
    (ours,) = cell(cell.project(known.view(1, 1, -1))[:, 0], fed.unsqueeze(0), (h.unsqueeze(0),))
    w = {f"cell.{name}": value for name, value in parameters(cell).items()}
    expected = gru(w, *(x.double().numpy() for x in (known, fed, h)))
    np.testing.assert_allclose(ours[0].detach(), expected, atol=1e-6)


def test_maxout_takes_the_larger_of_each_pair() -> None:
    layer = MaxoutOutput(4, 2)
    with torch.no_grad():
        layer.projection.weight.copy_(torch.eye(4))
        layer.projection.bias.zero_()
    assert layer(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[-3.0, -4.0]]])).tolist() == [[[2.0, -3.0]]]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_encoder_matches_torch_on_each_sentence(cell: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    config = RnnEncDecConfig(cell=cell)  # type: ignore[arg-type]
    directions = 2 if bidirectional else 1
    encoder = RnnEncoder(config, nn.Embedding(9, 5), dim=4 * directions, directions=[directions] * 2)
    src, mask = random_batch([4, 6, 2], vocabulary=9)
    encoded = encoder(src, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        states, final = torch_rnn(encoder.rnn)(encoder.embedding.weight.double()[src[row : row + 1, :length]])
        torch.testing.assert_close(encoded.states[row, :length], states[0].float())
        finals = final if cell == "lstm" else (final,)
        for ours, theirs in zip(encoded.final, finals, strict=True):
            torch.testing.assert_close(ours[row].flatten(), theirs[:, 0].flatten().float())


def test_reverse_leaves_padding_behind() -> None:
    x = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7]]).unsqueeze(2)
    assert reverse(x, torch.tensor([3, 4])).squeeze(2).tolist() == [[3, 2, 1, 0], [7, 6, 5, 4]]


def test_sinusoids() -> None:
    table = sinusoids(torch.arange(50), frequencies(8)).numpy()
    for position in (0, 7, 49):
        for i in range(4):
            angle = position / 10000 ** (2 * i / 8)
            np.testing.assert_allclose(table[position, 2 * i], np.sin(angle), atol=1e-5)
            np.testing.assert_allclose(table[position, 2 * i + 1], np.cos(angle), atol=1e-5)


def test_embeddings_of_the_transformer_are_scaled_before_positions_are_added() -> None:
    """Embeddings are weights times sqrt(d_model) (Vaswani et al. 2017, section 3.4), plus PE (section 3.5)."""
    model = tiny_model("transformer-post")
    tokens, positions = torch.tensor([[4, 7, 4, 10]]), torch.arange(4).unsqueeze(0)
    for embedding in (model.encoder.embedding, model.decoder.embedding):
        table = embedding.embedding.weight.detach().double().numpy()
        d_model = table.shape[1]
        for pos, (token, embedded) in enumerate(zip(tokens[0], embedding(tokens, positions)[0].detach(), strict=True)):
            angles = pos / 10000 ** (np.arange(0, d_model, 2) / d_model)
            pe = np.stack([np.sin(angles), np.cos(angles)], axis=1).reshape(-1)
            np.testing.assert_allclose(embedded, math.sqrt(d_model) * table[token] + pe, atol=1e-5)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_transformer_matches_torch(norm: str) -> None:
    config = TransformerConfig(
        model_dim=16, ffn_dim=24, num_heads=2, encoder_layers=2, decoder_layers=2, norm=norm, dropout=0.0
    )  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = build_model(config, VOCABULARY, VOCABULARY)
    reference = nn.Transformer(16, 2, 2, 2, 24, 0.0, batch_first=True, norm_first=norm == "pre")
    if norm == "post":  # torch normalises once more after the last layer, unlike the paper
        reference.encoder.norm = reference.decoder.norm = None
    reference.load_state_dict(translate_names(model, norm))
    src, mask = random_batch([5, 3, 7])
    tgt, _ = random_batch([6, 6, 6], seed=3)
    future = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.bool)
    embed_src, embed_tgt = model.encoder.embedding, model.decoder.embedding
    positions = torch.arange(7).unsqueeze(0)
    expected = reference(
        embed_src(src, positions),
        embed_tgt(tgt, positions[:, :6]),
        tgt_mask=future,
        src_key_padding_mask=~mask,
        memory_key_padding_mask=~mask,
    )
    torch.testing.assert_close(model(src, mask, tgt).hidden, expected, atol=1e-5, rtol=1e-4)


def test_attention_weights_of_the_transformer_match_torch() -> None:
    """The weights of every layer and head are those that nn.MultiheadAttention returns."""
    config = TransformerConfig(
        model_dim=16, ffn_dim=24, num_heads=2, encoder_layers=2, decoder_layers=2, norm="post", dropout=0.0
    )
    torch.manual_seed(0)
    model = build_model(config, VOCABULARY, VOCABULARY)
    reference = nn.Transformer(16, 2, 2, 2, 24, 0.0, batch_first=True)
    reference.encoder.norm = reference.decoder.norm = None
    reference.load_state_dict(translate_names(model, "post"))
    modules = {
        "encoder": [layer.self_attn for layer in reference.encoder.layers],
        "decoder": [layer.self_attn for layer in reference.decoder.layers],
        "cross": [layer.multihead_attn for layer in reference.decoder.layers],
    }
    for module in (module for of_kind in modules.values() for module in of_kind):
        module.register_forward_pre_hook(
            lambda _, inputs, options: (inputs, options | {"need_weights": True, "average_attn_weights": False}),
            with_kwargs=True,
        )
    found: dict[nn.Module, torch.Tensor] = {}
    for module in reference.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_hook(lambda module, _, output: found.update({module: output[1]}))
    src, mask = random_batch([5, 3, 7])
    tgt, _ = random_batch([6, 6, 6], seed=3)
    reference(
        model.encoder.embedding(src, torch.arange(7).unsqueeze(0)),
        model.decoder.embedding(tgt, torch.arange(6).unsqueeze(0)),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.bool),
        src_key_padding_mask=~mask,
        memory_key_padding_mask=~mask,
    )
    for kind, of_kind in modules.items():
        expected = torch.stack([found[module] for module in of_kind], dim=1)
        torch.testing.assert_close(model.attention(src, mask, tgt, kind), expected, atol=1e-5, rtol=1e-4)  # type: ignore[arg-type]


def translate_names(model: Seq2Seq, norm: str) -> dict[str, torch.Tensor]:
    """Return our weights under the names of nn.Transformer."""
    theirs = {}
    weights = copy.deepcopy(model.state_dict())
    for side in ("encoder", "decoder"):
        norms = {"mixer_residual": "norm1", "cross_residual": "norm2",
                 "feed_forward_residual": "norm2" if side == "encoder" else "norm3"}  # fmt: skip
        for layer in range(2):
            ours, name = f"{side}.layers.{layer}.", f"{side}.layers.{layer}."
            for kind in ("weight", "bias"):
                theirs[f"{name}self_attn.in_proj_{kind}"] = weights[f"{ours}mixer.qkv_projection.{kind}"]
                theirs[f"{name}self_attn.out_proj.{kind}"] = weights[f"{ours}mixer.output_projection.{kind}"]
                theirs[f"{name}linear1.{kind}"] = weights[f"{ours}feed_forward.inner.{kind}"]
                theirs[f"{name}linear2.{kind}"] = weights[f"{ours}feed_forward.outer.{kind}"]
                if side == "decoder":
                    cross = f"{ours}cross_attention."
                    theirs[f"{name}multihead_attn.in_proj_{kind}"] = torch.cat(
                        [weights[f"{cross}query_projection.{kind}"], weights[f"{cross}kv_projection.{kind}"]]
                    )
                    theirs[f"{name}multihead_attn.out_proj.{kind}"] = weights[f"{cross}output_projection.{kind}"]
                for residual, their_norm in norms.items():
                    key = f"{ours}{residual}.norm.{kind}"
                    if key in weights:
                        theirs[f"{name}{their_norm}.{kind}"] = weights[key]
        if norm == "pre":
            for kind in ("weight", "bias"):
                theirs[f"{side}.norm.{kind}"] = weights[f"{side}.norm.{kind}"]
    return theirs


def test_tied_weights_are_one() -> None:
    config = TransformerConfig(model_dim=16, ffn_dim=24, num_heads=2, encoder_layers=1, decoder_layers=1)
    model = build_model(config, VOCABULARY, VOCABULARY)
    embeddings = (model.encoder.embedding.embedding, model.decoder.embedding.embedding)
    assert all(table.weight is model.projection.weight for table in embeddings)
