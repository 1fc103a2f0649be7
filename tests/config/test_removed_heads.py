"""model.heads.removed: each name is looked at, and refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from nmt.config.data import CorpusConfig, DataConfig
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import HeadsConfig
from nmt.config.schema import GuidedAttentionConfig
from nmt.errors import ConfigError
from tests.models.variants import TRANSFORMER


def config(*removed: str, **keys: Any) -> TransformerConfig:
    options = keys.pop("heads", {})
    return TransformerConfig(**TRANSFORMER | keys, heads=HeadsConfig(**options, removed=list(removed)))


@pytest.mark.parametrize(
    ("removed", "keys", "reason"),
    [
        (["encoder.0.1"], {}, "encoder.0.1 is not the name of a head: expected PLACE.LAYER.HEAD"),
        (["encoder_self.0.-1"], {}, "encoder_self.0.-1 is not the name of a head"),
        (["encoder_self.2.0"], {}, "encoder_self.2.0: there are 2 layers, counted from 0"),
        (["decoder_cross.1.2"], {}, "decoder_cross.1.2: there are 2 heads, counted from 0"),
        (["decoder_self.1.0", "decoder_self.1.0"], {}, "decoder_self.1.0 is named twice"),
        (["decoder_self.1.0", "decoder_self.1.1"], {}, "decoder_self.1.0: no head would be left in decoder_self.1"),
        (["decoder_self.1.0"], {"decoder_self": ["softmax", "ssru"]}, "model.decoder_self=ssru has no heads"),
        (["decoder_self.1.0"], {"normaliser": "entmax"}, "model.normaliser=entmax has no heads, or parameters for"),
        (["decoder_self.1.0"], {"normaliser": "rela"}, "model.normaliser=rela normalises all heads together"),
        (["decoder_self.1.0"], {"heads": {"num_kv_heads": 1}}, "several heads share their keys and values"),
        (["decoder_self.1.0"], {"heads": {"talking": True}}, "heads exchange what they have found"),
    ],
)
def test_what_cannot_be_is_refused(removed: list[str], keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(*removed, **keys).check()
    assert str(caught.value).startswith("model.heads.removed: ") and reason in str(caught.value)


def test_heads_can_be_removed_where_options_that_would_forbid_it_do_not_hold() -> None:
    config("decoder_cross.0.1", heads={"num_kv_heads": 1, "places": ["decoder_self"]}).check()
    config("decoder_self.0.1", decoder_self=["softmax", "ssru"]).check()
    config("decoder_self.0.1", heads={"num_kv_heads": 2}).check()


def test_a_removed_head_cannot_be_guided() -> None:
    data = DataConfig(
        source_language="de", target_language="en", train=[CorpusConfig(prefix="a", alignments="a.align")]
    )
    guided = GuidedAttentionConfig(weight=0.1, heads=[2])
    guided.check(data, config("decoder_cross.0.0", "decoder_cross.1.1"))
    with pytest.raises(ConfigError) as caught:
        guided.check(data, config("decoder_cross.0.1"))
    assert str(caught.value).endswith("heads=[2]: model.heads.removed removes head 2 of layer 1")
