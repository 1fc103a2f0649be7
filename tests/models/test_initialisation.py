"""The initialisation of models: the spread of embeddings, open forget gates, orthogonal recurrent matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nmt.config.models import LuongConfig, ModelConfig, RnnEncDecConfig, RnnSearchConfig, TransformerConfig
from nmt.models.build import build_model
from nmt.models.cells.lstm import LstmCell

DIM, VOCABULARY = 64, 3000
WIDE: dict[str, ModelConfig] = {
    "transformer": TransformerConfig(model_dim=DIM, ffn_dim=8, num_heads=2, encoder_layers=1, decoder_layers=1),
    "transformer-untied": TransformerConfig(
        model_dim=DIM, ffn_dim=8, num_heads=2, encoder_layers=1, decoder_layers=1, share_embeddings=False
    ),
    "rnn_encdec": RnnEncDecConfig(embedding_dim=DIM, hidden_dim=8, maxout_dim=8),
    "rnnsearch": RnnSearchConfig(embedding_dim=DIM, hidden_dim=8, attention_dim=8, maxout_dim=8),
    "luong": LuongConfig(embedding_dim=DIM, hidden_dim=8, layers=1),
}


@pytest.mark.parametrize("name", WIDE)
def test_embeddings_begin_with_variance_one_over_their_dimension(name: str) -> None:
    """The Transformer's scale of sqrt(dim) then gives each component a variance of 1."""
    torch.manual_seed(3)
    model = build_model(WIDE[name], VOCABULARY, VOCABULARY)
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    assert tables
    for table in tables:
        assert abs(float(table.detach().mean())) < 3 * DIM**-0.5 / (DIM * VOCABULARY) ** 0.5
        assert float(table.detach().var()) == pytest.approx(1 / DIM, rel=0.03)


def input_forget_candidate_output(bias: Tensor) -> list[set[float]]:
    """Return the values of a bias for each gate, in the order of `nn.LSTM`."""
    return [set(gate.tolist()) for gate in bias.chunk(4)]


@pytest.mark.parametrize("config", [
    RnnEncDecConfig(embedding_dim=6, hidden_dim=5, maxout_dim=4, cell="lstm", layers=2, bidirectional=True),
    RnnSearchConfig(embedding_dim=6, hidden_dim=5, attention_dim=4, maxout_dim=4, cell="lstm"),
    LuongConfig(embedding_dim=6, hidden_dim=4, layers=2),
], ids=lambda config: config.family)  # fmt: skip
def test_forget_gates_begin_open_and_all_other_biases_at_zero(config: ModelConfig) -> None:
    """The total bias is 1 (Jozefowicz et al. 2015), even if a layer adds up two biases."""
    model = build_model(config, 20, 20)
    biases = []
    for module in model.modules():
        if isinstance(module, nn.LSTM):
            names = [name for name in dict(module.named_parameters()) if name.startswith("bias_ih")]
            both = [(name, name.replace("bias_ih", "bias_hh")) for name in names]
            biases += [module.get_parameter(one) + module.get_parameter(other) for one, other in both]
        elif isinstance(module, LstmCell):
            biases.append(module.input_projection.bias)
    assert len(biases) >= 2
    for bias in biases:
        assert input_forget_candidate_output(bias) == [{0.0}, {1.0}, {0.0}, {0.0}]


@pytest.mark.parametrize("name", ["rnn_encdec", "rnnsearch", "luong"])
def test_recurrent_matrices_begin_orthogonal_gate_by_gate(name: str) -> None:
    """The rule is that of Bahdanau et al. 2015, B.1."""
    model = build_model(WIDE[name], 20, 20)
    gates = [
        gate
        for parameter, weight in model.named_parameters()
        if "weight_hh" in parameter or "recurrent_projection" in parameter
        for gate in weight[:, -8:].split(8)
        if gate.shape == (8, 8)
    ]
    assert len(gates) >= 6
    for gate in gates:
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [
    RnnEncDecConfig(embedding_dim=256, hidden_dim=64, maxout_dim=8, cell="lstm", context="initial_state"),
    RnnEncDecConfig(embedding_dim=256, hidden_dim=256, maxout_dim=8),
    RnnSearchConfig(embedding_dim=256, hidden_dim=256, attention_dim=8, maxout_dim=8),
    LuongConfig(embedding_dim=256, hidden_dim=256, layers=2),
    LuongConfig(embedding_dim=256, hidden_dim=256, layers=1, input_feeding=False),
], ids=["encdec-initial", "encdec-every", "rnnsearch", "luong-feeding", "luong-plain"])  # fmt: skip
def test_embeddings_move_gates_by_a_fifth(config: ModelConfig) -> None:
    """This holds for all sizes, in the encoder and in the layer of the decoder that reads tokens."""
    model = build_model(config, VOCABULARY, VOCABULARY)
    found = []
    for name, weight in model.named_parameters():
        if name.split(".", 1)[1] in (
            "rnn.weight_ih_l0",
            "cell.input_projection.weight",
            "first_cell.input_projection.weight",
        ):
            gates = model.encoder.embedding.weight[4:] @ weight[:, :256].T
            found.append(float(gates.detach().std()))
    assert found == pytest.approx([0.2, 0.2], rel=0.05)
