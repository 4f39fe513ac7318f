import itertools
import types

import pytest
import torch
from torch import nn

from intracoder.errors import ConfigError
from intracoder.nets.device import Compute, choose_compute, step_generator
from intracoder.nets.intracoder import Intracoder, IntracoderConfig, count_parameters, preset, swap_faces
from intracoder.nets.normalize import LEVEL, normalized, restored, skin_color

TINY = IntracoderConfig(width=16, code=32, blocks=1, head_stages=1, encoder_px=32, output_px=32, people=3)


def layers(module):
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for m in module.modules())


@pytest.mark.parametrize("size", ["S", "M", "L"])
@pytest.mark.parametrize("plain", [False, True])
def test_the_encoder_is_deeper_than_a_decoder(size, plain):
    with torch.device("meta"):
        net = Intracoder(preset(size, plain=plain))
    assert layers(net.encoder) >= 2 * layers(net.decoders[0])
    assert count_parameters(net.encoder) >= 5 * count_parameters(net.decoders[0])


@pytest.mark.parametrize(("size", "px"), [("S", 128), ("M", 192), ("L", 256)])
def test_presets_have_their_output_size(size, px):
    config = preset(size)
    with torch.device("meta"):
        net = Intracoder(config)
        crops = torch.empty(2, 3, config.encoder_px, config.encoder_px)
        out = net(crops, (1, 1), torch.empty(2, 8, px, px))
    assert out.rgb.shape == (2, 3, px, px)
    assert out.alpha.shape == (2, 1, px, px)


def test_the_swap_is_the_sources_decoder_on_the_targets_code():
    torch.manual_seed(0)
    net = Intracoder(TINY).eval()
    crops, planes = torch.rand(2, 3, 32, 32), torch.rand(2, 8, 32, 32)
    swapped = swap_faces(net, 1, crops, planes)
    by_hand = net.decode(net.encoder(crops), (0, 2, 0), planes)
    own = net(crops, (2, 0, 0), planes)
    assert torch.equal(swapped.rgb, by_hand.rgb)
    assert (swapped.rgb - own.rgb).abs().max() > 1e-3


def test_every_row_goes_to_its_own_persons_decoder():
    torch.manual_seed(0)
    net = Intracoder(TINY).eval()
    crops, planes = torch.rand(4, 3, 32, 32), torch.rand(4, 8, 32, 32)
    together = net(crops, (1, 0, 3), planes)
    alone = [net(crops[k : k + 1], shares, planes[k : k + 1]) for k, shares in enumerate([(1, 0, 0)] + 3 * [(0, 0, 1)])]
    assert torch.allclose(together.rgb, torch.cat([a.rgb for a in alone]), atol=1e-5)


def test_a_code_has_unit_mean_square():
    net = Intracoder(TINY)
    code = net.encoder(torch.rand(5, 3, 32, 32)).detach()
    assert code.pow(2).mean(1).numpy() == pytest.approx(torch.ones(5).numpy(), abs=1e-3)


def untrained():
    torch.manual_seed(0)
    net = Intracoder(TINY)
    nn.init.zeros_(net.decoders[0].last.weight)
    return net


def test_without_learning_most_of_the_reference_is_copied():
    planes, share = torch.rand(1, 8, 32, 32), float(torch.sigmoid(torch.tensor(1.0)))
    out = untrained()(torch.rand(1, 3, 32, 32), (1, 0, 0), planes)
    assert torch.allclose(out.rgb, share * planes[:, -3:] + (1 - share) * 0.5, atol=1e-5)


def test_finer_detail_of_the_reference_comes_out_at_its_own_size():
    net, share = untrained(), float(torch.sigmoid(torch.tensor(1.0)))
    detail = torch.rand(1, 3, 96, 96)
    out = net.decoder(0)(net.encoder(torch.rand(1, 3, 32, 32)), torch.rand(1, 8, 32, 32), detail)
    assert out.rgb.shape == (1, 3, 96, 96)
    assert out.alpha.shape == (1, 1, 96, 96)
    assert torch.allclose(out.rgb, share * detail + (1 - share) * 0.5, atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"width": 7}, {"output_px": 100}, {"encoder_px": 60}, {"people": 0}, {"head_stages": 9}, {"code": 1}]
)
def test_impossible_networks_are_refused(wrong):
    with pytest.raises(ConfigError):
        IntracoderConfig(**wrong)


def test_no_decoder_for_a_person_who_is_not_there():
    with pytest.raises(ConfigError, match=r"0\.\.2"):
        Intracoder(TINY).decoder(3)


def test_normalised_skin_has_one_level_black_stays_black_and_colours_come_back():
    torch.manual_seed(1)
    images, masks = 0.3 + 0.1 * torch.rand(2, 3, 16, 16), torch.zeros(2, 1, 16, 16)
    images[:, 2] *= 0.5  # warm light
    images[:, :, 0, 0] = 0.0
    masks[:, :, 4:12, 4:12] = 1
    color = skin_color(images, masks)
    made = normalized(images, color)
    assert made[:, :, 4:12, 4:12].mean((2, 3)).numpy() == pytest.approx(LEVEL, rel=0.15)
    assert (made[:, :, 0, 0] == 0).all()
    assert torch.allclose(restored(made, color), images, atol=1e-5)
    # in another light only the gains differ
    cold = skin_color(images.flip(1), masks)
    assert torch.allclose(restored(made, cold), images * cold / color, atol=1e-5)


def test_generators_differ_between_steps_and_seeds_and_repeat():
    drawn = {key: torch.rand(4, generator=step_generator(*key)) for key in itertools.product((0, 1), (0, 1, 2), (0, 1))}
    for (a, x), (b, y) in itertools.combinations(drawn.items(), 2):
        assert not torch.equal(x, y), (a, b)
    assert torch.equal(drawn[1, 2, 0], torch.rand(4, generator=step_generator(1, 2)))


def test_compute_is_resolved_and_wrong_wishes_are_refused():
    compute = choose_compute("cpu", "32-true", 1)
    assert (compute.device.type, compute.precision, compute.threads) == ("cpu", "32-true", 1)
    with compute.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    half = Compute(device=torch.device("cpu"), precision="bf16-mixed", threads=1)
    with half.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="16-mixed"):
        choose_compute("cpu", "16-mixed", 1)


def test_a_gpu_gets_its_channels_together_and_a_cpu_does_not():
    for name, layout in (("cpu", torch.contiguous_format), ("cuda", torch.channels_last), ("mps", torch.channels_last)):
        assert Compute(device=torch.device(name), precision="32-true", threads=1).layout == layout


def test_freed_memory_is_kept_where_the_c_library_can(monkeypatch):
    asked = {}
    glibc = types.SimpleNamespace(mallopt=lambda number, value: asked.update({number: value}) or 1)
    monkeypatch.setattr("intracoder.nets.device.sys.platform", "linux")
    monkeypatch.setattr("intracoder.nets.device.ctypes.CDLL", lambda name: glibc)
    choose_compute("cpu", "32-true", 1)
    # trim threshold, top pad and mmap threshold by their numbers in malloc.h; all far beyond a batch
    assert set(asked) == {-1, -2, -3}
    assert min(asked.values()) >= 2**28
    monkeypatch.setattr("intracoder.nets.device.ctypes.CDLL", lambda name: types.SimpleNamespace())
    assert choose_compute("cpu", "32-true", 1).threads == 1
