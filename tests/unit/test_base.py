import pytest
import torch

from intracoder.errors import WeightsError
from intracoder.nets.base import BASE, base_config, pack_base, read_base, warm_start
from intracoder.nets.intracoder import Intracoder, IntracoderConfig, preset
from intracoder.nets.weights import read_manifest, weights_folder


def made(config, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Intracoder(config)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
    return net.eval()


@pytest.fixture(scope="module")
def inputs():
    torch.manual_seed(1)
    return torch.rand(2, 3, 64, 64), torch.rand(2, 8, 128, 128)


def test_every_person_starts_as_the_one_who_draws_anybody(inputs):
    crops, planes = inputs
    anybody, two = made(base_config(), 0), made(preset("S", people=3), 1)
    assert warm_start(two, anybody.state_dict())
    with torch.no_grad():
        expected = anybody.decoder(0)(anybody.encoder(crops), planes)
        for person in range(3):
            drawn = two.decoder(person)(two.encoder(crops), planes)
            torch.testing.assert_close(drawn.rgb, expected.rgb)
            torch.testing.assert_close(drawn.alpha, expected.alpha)
    # and they learn apart from one another
    assert two.decoders[0].last.weight.data_ptr() != two.decoders[1].last.weight.data_ptr()


@pytest.mark.parametrize("config", [preset("M"), preset("S", plain=True), IntracoderConfig(width=32)])
def test_other_layers_start_from_nothing(config):
    net = made(config, 0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not warm_start(net)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_packaged_weights_fit_and_are_small():
    weights = read_base()
    net = made(preset("S"), 0)
    assert warm_start(net)
    assert torch.equal(net.state_dict()["encoder.squeeze.weight"], weights["encoder.squeeze.weight"])
    assert torch.equal(net.state_dict()["decoders.1.last.bias"], weights["decoders.0.last.bias"])
    assert (weights_folder() / read_manifest()[BASE].file).stat().st_size < 25e6


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_packing_loses_no_more_than_half_precision_does(monkeypatch, layout):
    net = made(base_config(), 3).to(memory_format=layout)
    monkeypatch.setattr("intracoder.nets.base.load_bytes", lambda name: pack_base(net))
    for name, value in read_base().items():
        torch.testing.assert_close(value, net.state_dict()[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("data", [b"", b"\x10\0\0\0\0\0\0\0{}", b"\xff" * 64])
def test_damaged_weights_are_refused_in_a_line(monkeypatch, data):
    monkeypatch.setattr("intracoder.nets.base.load_bytes", lambda name: data)
    with pytest.raises(WeightsError, match=BASE):
        read_base()


def test_weights_of_another_network_are_refused(monkeypatch):
    other = made(IntracoderConfig(width=32, people=1), 0)
    monkeypatch.setattr("intracoder.nets.base.load_bytes", lambda name: pack_base(other))
    with pytest.raises(WeightsError, match="size S"):
        read_base()
