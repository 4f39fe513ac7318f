import sys

import pytest
import torch

from intracoder.nets.cost import net_cost, peak_memory_mib
from intracoder.nets.intracoder import IntracoderConfig


def conv(channels_in, channels_out, side):
    """Numbers and multiply-adds of a 3 x 3 convolution with bias that makes a side x side grid."""
    weights = 9 * channels_in * channels_out
    return weights + channels_out, weights * side**2


def total(*layers):
    return sum(n for n, _ in layers), sum(m for _, m in layers)


def test_a_small_nets_cost_is_that_counted_by_hand():
    w, code = 16, 32
    config = IntracoderConfig(width=w, code=code, blocks=1, head_stages=1, encoder_px=32, output_px=32)
    encoder = total(
        conv(48, w, 8),  # 32 px unshuffled by 4
        *[conv(w, w, 8)] * 2,
        conv(w, 2 * w, 4),
        *[conv(2 * w, 2 * w, 4)] * 2,
        conv(2 * w, 4 * w, 2),
        *[conv(4 * w, 4 * w, 2)] * 2,
        (4 * w * w + w, 4 * w * w * 2**2),  # 1 x 1
        (16 * w * code + code, 16 * w * code),  # linear, from the 4 x 4 grid
    )
    planes = total(conv(2 * 2 * 8, w, 16), conv(w, 2 * w, 8), conv(2 * w, 4 * w, 4))
    trunk = total(
        (code * 16 * w + 16 * w, code * 16 * w),
        conv(w, 4 * w, 4),
        *[conv(4 * w, 4 * w, 4)] * 2,
        conv(4 * w, 4 * 2 * w, 4),
        *[conv(2 * w, 2 * w, 8)] * 2,
        (2 * 2 * (4 * w + 2 * w), 0),  # FiLM of two people
    )
    decoder = total(conv(2 * w, 4 * w, 8), *[conv(w, w, 16)] * 2, conv(w, 2 * 2 * 4 + 4, 16))
    cost = net_cost(config)
    assert cost.parameters == encoder[0] + planes[0] + trunk[0] + 2 * decoder[0]
    assert cost.macs_per_face == encoder[1] + planes[1] + trunk[1] + decoder[1]
    assert f"{cost.parameters / 1e6:.2f} M parameters" in cost.text()


def test_peak_memory_grows_with_what_is_used():
    before = peak_memory_mib(torch.device("cpu"))
    if sys.platform == "win32":
        assert before is None
        return
    assert 50 < before < 100_000
    held = torch.ones(round(before + 64) * 2**18)  # 64 MiB more than ever
    assert peak_memory_mib(torch.device("cpu")) >= before + 32
    assert held[-1] == pytest.approx(1)
