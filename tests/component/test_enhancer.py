import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from intracoder.errors import ConfigError, TrainingError, WeightsError
from intracoder.nets.device import Compute
from intracoder.nets.enhancer import Enhancer, EnhancerConfig, carried, enlarged, load_enhancer, save_tensors, veiled
from intracoder.swap.enhancer import BicubicEnhancer, LearnedEnhancer
from intracoder.training.enhance import EnhanceOptions, save_enhancer, train_enhancer
from intracoder.training.enhance_data import EnhancerData, random_light
from intracoder.training.schedule import Budget

CPU = Compute(device=torch.device("cpu"), precision="32-true", threads=1)
TINY = EnhancerConfig(crop_px=32, width=16, blocks=2, thumb_px=32, grid_px=4, bins=4)
OPTIONS = EnhanceOptions(batch=4, color_batch=4, patch=1.0, texture=0.1, lr=4e-3)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def portraits(count, side, seed=0):
    """Smooth pictures with crisp dots: what a blurred drawing of them lacks can be learned."""
    rng = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        smooth = cv2.GaussianBlur(rng.normal(0, 1, (side, side, 3)), (0, 0), side / 6)
        image = 140 + smooth / smooth.std() * 25
        for place in rng.integers(side // 4, side * 3 // 4, (6, 2)):
            cv2.circle(image, place.tolist(), side // 20, (60.0, 40.0, 40.0), -1, cv2.LINE_AA)
        crops.append(np.clip(image, 0, 255).astype(np.uint8))
    return np.stack(crops)


def half(images):
    return np.stack([cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for x in images])


def lessons(count=4, side=32):
    expected = portraits(count, 2 * side)
    faces = half(expected)
    drawn = np.stack([cv2.GaussianBlur(x, (0, 0), 0.7) for x in faces])
    rng = np.random.default_rng(1)
    changed = np.stack([[random_light(x, strength, rng) for strength in (0.5, 1.0)] for x in faces])
    masks = np.zeros((count, side, side), np.uint8)
    masks[:, 4:-4, 4:-4] = 255
    return EnhancerData(generated=drawn, expected=expected, faces=faces, disguised=faces, changed=changed, masks=masks)


def tensors(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def test_untrained_is_bicubic():
    net = Enhancer(TINY)
    crops, references, masks = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32)
    result = net(crops, references, masks)
    assert result.shape == (2, 3, 64, 64)
    torch.testing.assert_close(result, enlarged(crops, 2).clamp(0, 1))
    assert net.detail(crops[..., :16, :16], references[..., :16, :16], masks[..., :16, :16]).shape == (2, 3, 32, 32)


def test_default_network_has_the_size_that_was_promised():
    net = Enhancer(EnhancerConfig())
    assert 0.3e6 < sum(p.numel() for p in net.parameters()) < 0.6e6
    with torch.inference_mode():
        assert net(*(torch.rand(1, c, 128, 128) for c in (3, 3, 1))).shape == (1, 3, 256, 256)


def scrambled(net, seed=0):
    """A network whose every part does something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return net


@torch.inference_mode()
def test_colour_can_not_see_who_the_target_is():
    # swapping pixels within the mask for others of the same low frequencies changes nothing
    net = scrambled(Enhancer(TINY))
    crops, mask = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    target = torch.rand(1, 3, 32, 32) * 0.1 + 0.4
    checks = torch.tensor([1.0, -1.0]).repeat(16)
    other = target + 0.3 * checks[:, None] * checks
    first, second = (net.color(crops, x, mask) for x in (target, other))
    assert float((first - crops).abs().mean()) > 0.005
    assert float((first - second).abs().max()) < 0.02 * float((first - crops).abs().max())


@torch.inference_mode()
def test_detail_can_not_change_colours():
    net = scrambled(Enhancer(EnhancerConfig(crop_px=64, width=16, blocks=2, thumb_px=32, grid_px=4)))
    crops, references, masks = (torch.rand(2, c, 64, 64) for c in (3, 3, 1))
    added = net.detail(crops, references, masks) - enlarged(crops, 2)
    assert float(added.abs().mean()) > 0.01
    assert float(added.mean((2, 3)).abs().max()) < 0.05 * float(added.abs().mean())


def test_veil_looks_only_at_the_masked_part():
    images, masks = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    masks[..., 8:24, 8:24] = 1
    painted = torch.where(masks > 0, images, torch.ones(()))
    difference = (veiled(images, masks) - veiled(painted, masks))[..., 8:24, 8:24].abs().max()
    assert float(difference) < 0.02
    flat = torch.full((1, 3, 32, 32), 0.3)
    torch.testing.assert_close(veiled(flat, masks), flat)
    torch.testing.assert_close(carried(flat), flat)


def test_training_sharpens_and_corrects():
    data = lessons()
    net = train_enhancer(data, compute=CPU, budget=Budget(steps=150, seconds=None), options=OPTIONS, config=TINY)
    masks = torch.from_numpy(data.masks)[:, None].float() / 255
    expected, drawn, faces = tensors(data.expected), tensors(data.generated), tensors(data.faces)
    inside = enlarged(masks, 2).clamp(0, 1)
    with torch.inference_mode():
        sharp = net(drawn, faces, masks, recolor=False)
        errors = [float(((x - expected).abs() * inside).mean()) for x in (enlarged(drawn, 2), sharp)]
        changed = tensors(data.changed[:, 1])
        recolored = net.color(changed, faces, masks)
        light = [float(((x - faces).abs() * masks).mean()) for x in (changed, recolored)]
    assert errors[1] < 0.9 * errors[0]
    assert light[1] < 0.7 * light[0]


def test_same_seed_gives_the_same_weights_and_another_gives_others():
    data = lessons()
    kwargs = {"compute": CPU, "budget": Budget(steps=4, seconds=None), "options": OPTIONS, "config": TINY}
    first, again, other = (train_enhancer(data, seed=seed, **kwargs).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_the_global_generator_alone_and_tells_progress():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    told = []
    train_enhancer(
        lessons(),
        compute=CPU,
        budget=Budget(steps=10, seconds=None),
        options=OPTIONS,
        config=TINY,
        progress=lambda stage, done, total, note="": told.append((stage, done, total, note)),
    )
    assert torch.equal(torch.rand(1), expected)
    assert told[-1] == ("enhance", 1.0, 1.0, "10 steps")
    assert "detail" in told[0][3]


def test_a_time_budget_ends():
    net = train_enhancer(lessons(), compute=CPU, budget=Budget(steps=None, seconds=0.5), options=OPTIONS, config=TINY)
    assert not net.training


def test_file_round_trip_and_adapter(tmp_path):
    net = scrambled(Enhancer(TINY)).eval()
    path = tmp_path / "enhancer.safetensors"
    save_enhancer(net, path)
    loaded = load_enhancer(path)
    assert loaded.config == TINY
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), loaded.state_dict().values(), strict=True))
    enhancer = LearnedEnhancer(path, device="cpu", precision="32-true", threads=1)
    assert (enhancer.scale, enhancer.crop_px) == (2, 32)
    references = portraits(11, 64)
    crops, masks = half(references), np.ones((11, 64, 64), np.float32)
    result = enhancer.enhance(crops, references, masks)
    assert result.shape == references.shape
    assert result.dtype == np.uint8
    one = enhancer.enhance(crops[9:10], references[9:10], masks[9:10])
    assert np.abs(one[0].astype(int) - result[9]).max() <= 1
    uncolored = LearnedEnhancer(path, recolor=False, device="cpu", precision="32-true").enhance(
        crops, references, masks
    )
    assert (uncolored != result).any()
    assert enhancer.enhance(crops[:0], references[:0], masks[:0]).shape == (0, 64, 64, 3)
    with pytest.raises(ConfigError, match="enhancer crops: expected 32 px"):
        enhancer.enhance(references, references, masks)


def test_bicubic_enhancer_grows():
    references = portraits(2, 64)
    grown = BicubicEnhancer().enhance(half(references), references, np.ones((2, 32, 32), np.float32))
    assert np.abs(grown.astype(int) - references).mean() < 6


@pytest.mark.parametrize("kind", ["missing", "text", "no config", "bad config", "other tensors"])
def test_unusable_files_are_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "enhancer.safetensors"
    state, metadata = save_tensors(Enhancer(TINY))
    if kind == "text":
        path.write_text("not a model")
    elif kind == "no config":
        save_file(state, path)
    elif kind == "bad config":
        save_file(
            state, path, {key: value.replace('"width": 16', '"width": 100000') for key, value in metadata.items()}
        )
    elif kind == "other tensors":
        save_file({"x": torch.zeros(1)}, path, metadata)
    with pytest.raises(WeightsError, match=r"train|another model") as error:
        load_enhancer(path)
    assert "\n" not in str(error.value)


def test_data_that_does_not_fit_is_refused():
    data = lessons()
    config = EnhancerConfig(crop_px=64, thumb_px=32)
    with pytest.raises(TrainingError, match="expected crops of 64 and 128 px, got 32 and 64"):
        train_enhancer(data, compute=CPU, budget=Budget(steps=1, seconds=None), config=config)
    empty = {name: getattr(data, name)[:0] for name in data.__slots__}
    with pytest.raises(TrainingError, match="got none"):
        EnhancerData(**empty)
