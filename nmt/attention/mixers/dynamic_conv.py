"""Dynamic convolution, in the place of self-attention (Wu et al. 2019, section 4)."""

from __future__ import annotations

from torch import Tensor, nn

from nmt.attention.convolution import Convolution
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class DynamicConvolution(Convolution):
    """A convolution whose kernels are predicted at each position from its value alone: f(X_i) = W X_i (DynamicConv)."""

    def __init__(self, model_dim: int, num_heads: int, kernel_size: int, dropout: float, causal: bool) -> None:
        super().__init__(model_dim, num_heads, kernel_size, dropout, causal)
        self.kernel_projection = nn.Linear(model_dim, num_heads * kernel_size, bias=False)

    def scores(self, values: Tensor) -> Tensor:
        scores: Tensor = self.kernel_projection(values).unflatten(2, (self.num_heads, self.kernel_size))
        return scores


def make(config: TransformerConfig, place: Place) -> DynamicConvolution:
    """Return the dynamic convolution of one layer."""
    options = config.dynamic_conv
    return DynamicConvolution(
        config.model_dim, config.num_heads, options.kernel_size(place.layer), options.dropout, place.causal
    )
