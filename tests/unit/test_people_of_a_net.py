import pytest
import torch

from intracoder.errors import ConfigError
from intracoder.nets.intracoder import Intracoder, IntracoderConfig
from intracoder.nets.people import is_own, joined, one_person

SMALL = {"width": 16, "code": 32, "blocks": 1, "head_stages": 1, "encoder_px": 32, "output_px": 32}


def made(seed, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Intracoder(IntracoderConfig(**(SMALL | changes)))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval().requires_grad_(requires_grad=False)


def drawn(net, person):
    generator = torch.Generator().manual_seed(0)
    crops, planes = torch.rand(2, 3, 32, 32, generator=generator), torch.rand(2, 8, 32, 32, generator=generator)
    return net.decoder(person)(net.encoder(crops), planes).rgb


def test_one_person_is_drawn_as_among_others():
    net = made(0, people=3)
    alone = one_person(net, 1)
    assert alone.config.people == 1
    assert torch.equal(drawn(alone, 0), drawn(net, 1))
    assert not torch.equal(drawn(alone, 0), drawn(net, 0))


def test_people_taken_out_and_put_in_again_are_the_same_network():
    net = made(0, people=3)
    again = joined(joined(one_person(net, 0), one_person(net, 1)), one_person(net, 2))
    assert again.config == net.config
    expected = net.state_dict()
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in expected.items()
    }
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())


def test_what_is_shared_is_the_first_networks():
    first, second = made(0, people=2), made(1, people=1)
    both, theirs = joined(first, second).state_dict(), second.state_dict()
    for name, value in first.state_dict().items():
        assert torch.equal(both[name][: len(value)], value)
        assert is_own(name) == (name.startswith("decoders.") or "film" in name)
    assert torch.equal(both["decoders.2.last.bias"], theirs["decoders.0.last.bias"])
    assert torch.equal(both["trunk.fine_film.scale"][2:], theirs["trunk.fine_film.scale"])


def test_other_layers_and_other_numbers_are_refused():
    net = made(0, people=2)
    with pytest.raises(ConfigError, match="layers"):
        joined(net, made(1, people=1, width=32))
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        one_person(net, 2)
    many = made(1, people=63)
    with pytest.raises(ConfigError, match=r"net\.people"):
        joined(net, many)
