"""A Transformer's decoder layer for searches of one sentence, whose steps take as long to be called as to compute."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from nmt.attention.cache import Past
from nmt.attention.multihead import Source, merge_heads, split_heads
from nmt.engines.absorbed import Absorbed
from nmt.models.transformer import DecoderLayer, LayerWeights


class SingleLayer(DecoderLayer):
    """A decoder layer with a short way for the tokens of a single hypothesis: the same operations, called directly."""

    def forward(
        self, x: Tensor, memory: Source | Absorbed, past: Past | None, need_weights: bool
    ) -> tuple[Tensor, LayerWeights | None]:
        """See `DecoderLayer.forward`."""
        if x.size(0) > 1 or past is None or need_weights or not isinstance(memory, Absorbed):
            return super().forward(x, memory, past, need_weights)  # type: ignore[arg-type]
        attention = self.self_attention
        query, key, value = split_heads(attention.qkv_projection(self.self_residual.enter(x)), 3, attention.num_heads)
        keys, values = past.cache.write(past.layer, key, value)
        context = scaled_dot_product_attention(query, keys, values, attn_mask=past.bias)
        x = self.self_residual.add(x, attention.output_projection(merge_heads(context)))
        x = self.cross_residual.add(x, memory.attended(self.cross_residual.enter(x), attention.num_heads)[0])
        return self.feed_forward_residual.add(x, self.feed_forward(self.feed_forward_residual.enter(x))), None
