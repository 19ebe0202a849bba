from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from siamese.encoders import create_encoder, create_untrained
from siamese.encoders.attention import CBAM, ChannelAttention
from siamese.encoders.encoder import Encoder
from siamese.encoders.mobilefacenet import MobileFaceNet
from siamese.errors import OptionError, WeightsError
from siamese.similarity import normalise, pair_similarity

CHECKPOINT = Path("weights", "mobilefacenet_casia_webface.ckpt")
VARIANTS = ("mobilefacenet_ca", "mobilefacenet_cbam")


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def shake(module: nn.Module) -> None:
    """Move what an untrained network has at 0 or 1."""
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value += 0.05 * torch.rand(value.shape)


def parameters_of_the_paper(height: int, width: int) -> int:
    """Counted by hand from Table 1: convolutions, two per channel of a batch norm, one per channel of a PReLU."""

    def conv(weights: int, channels: int, prelu: bool = True) -> int:
        return weights + channels * (3 if prelu else 2)

    total = conv(3 * 64 * 9, 64) + conv(64 * 9, 64)
    channels = 64
    for expansion, out, repeats in ((2, 64, 5), (4, 128, 1), (2, 128, 6), (4, 128, 1), (2, 128, 2)):
        for _ in range(repeats):
            wide = channels * expansion
            total += conv(channels * wide, wide) + conv(wide * 9, wide) + conv(wide * out, out, prelu=False)
            channels = out
    last = conv(512 * height * width, 512, prelu=False) + conv(512 * 128, 128, prelu=False)
    return total + conv(128 * 512, 512) + last


@pytest.mark.parametrize(
    ("size", "last_map"), [((112, 96), (7, 6)), ((112, 112), (7, 7)), ((100, 65), (7, 5)), ((64, 64), (4, 4))]
)
def test_parameter_count_and_output_follow_the_paper_at_any_size(
    size: tuple[int, int], last_map: tuple[int, int]
) -> None:
    encoder = create_encoder("mobilefacenet@random", input_size=size).eval()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters_of_the_paper(*last_map)
    assert encoder(torch.zeros(2, 3, *size)).shape == (2, 128)


def test_input_is_the_middle_of_an_aligned_crop_scaled_as_published() -> None:
    spec = create_encoder("mobilefacenet@random").input_spec
    assert (spec.size, spec.alignment, spec.fit, spec.channels) == ((112, 96), "arcface-112", "crop", "RGB")
    pixels = np.array([0, 128, 255], np.uint8).reshape(1, 1, 1, 3)
    expected = (np.array([0, 128, 255]) - 127.5) / 128
    np.testing.assert_allclose(spec.normalise(pixels).ravel(), expected, atol=1e-6)


def test_too_small_an_input_is_refused() -> None:
    with pytest.raises(OptionError, match="input size 112x8: mobilefacenet needs at least 16x16"):
        create_encoder("mobilefacenet@random", input_size=(112, 8))


def test_name_alone_asks_for_a_file_or_random_weights() -> None:
    expected = r"encoder 'mobilefacenet': no weights .* give mobilefacenet@FILE, or mobilefacenet@random"
    with pytest.raises(OptionError, match=expected):
        create_encoder("mobilefacenet")


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_name_themselves_when_they_refuse(name: str) -> None:
    with pytest.raises(OptionError, match=f"^input size 8x8: {name} needs at least 16x16$"):
        create_encoder(f"{name}@random", input_size=(8, 8))
    with pytest.raises(OptionError, match="unknown encoder 'mobilefacenet_se': did you mean 'mobilefacenet"):
        MobileFaceNet(None, "mobilefacenet_se")


@pytest.mark.parametrize(("name", "kind"), [("mobilefacenet_ca", ChannelAttention), ("mobilefacenet_cbam", CBAM)])
def test_variants_have_attention_in_the_third_and_the_fifth_row_only(name: str, kind: type[nn.Module]) -> None:
    encoder = create_untrained(name)
    with_attention = [
        number
        for number, stage in enumerate(encoder.stages())
        for module in stage
        for each in module.modules()
        if isinstance(each, kind)
    ]
    assert with_attention == [3] * 6 + [5] * 2  # stage 0 is the stem
    per_block = 2 * 128 * (128 // 16) + (2 * 7 * 7 if kind is CBAM else 0)
    assert parameters(encoder) - parameters(create_untrained("mobilefacenet")) == 8 * per_block


@pytest.mark.parametrize("name", VARIANTS)
def test_plain_weights_load_into_a_variant_and_give_the_same_features(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = create_untrained("mobilefacenet")
    shake(plain)
    torch.save(plain.state_dict(), tmp_path / "plain.pt")
    with caplog.at_level("INFO", logger="siamese"):
        variant = create_encoder(f"{name}@{tmp_path / 'plain.pt'}")
    assert f"plain.pt: no attention in it, so that of {name} starts with open gates" in caplog.text
    assert (variant.name, variant.pretrained) == (name, True)
    images = torch.randn(3, 3, 112, 96)
    assert torch.equal(variant.eval()(images), plain.eval()(images))


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_of_a_variant_come_back_with_their_attention(name: str, tmp_path: Path) -> None:
    trained = create_untrained(name)
    shake(trained)
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    loaded = create_encoder(f"{name}@{tmp_path / 'trained.pt'}")
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in trained.state_dict().items())
    images = torch.randn(3, 3, 112, 96)
    plain = create_untrained("mobilefacenet")
    plain.load_state_dict({key: value for key, value in trained.state_dict().items() if "attention" not in key})
    difference = loaded.eval()(images) - plain.eval()(images)
    assert difference.abs().max() > 1e-3


def test_weights_with_a_part_of_the_attention_or_another_are_refused(tmp_path: Path) -> None:
    for name in VARIANTS:
        torch.save(create_untrained(name).state_dict(), tmp_path / f"{name}.pt")
    channel = tmp_path / "mobilefacenet_ca.pt"
    with pytest.raises(
        WeightsError, match=r"24 missing \(first 'blocks\.6\.attention\.channel\.mlp\.0\.weight'\), 16 un"
    ):
        create_encoder(f"mobilefacenet_cbam@{channel}")
    with pytest.raises(WeightsError, match=r"16 unexpected \(.*attention.*expected MobileFaceNet at 112x96"):
        create_encoder(f"mobilefacenet@{channel}")
    state = torch.load(channel, weights_only=True)
    del state["blocks.14.attention.mlp.2.weight"]
    torch.save(state, channel)
    expected = (
        r"1 missing \(first 'blocks\.14\.attention.*expected MobileFaceNet, plain or as mobilefacenet_ca, at 112x96"
    )
    with pytest.raises(WeightsError, match=expected):
        create_encoder(f"mobilefacenet_ca@{channel}")
    del state["conv1.conv.weight"]
    torch.save({name: value for name, value in state.items() if "attention" not in name}, channel)
    with pytest.raises(WeightsError, match=r"1 missing \(first 'conv1\.conv\.weight'\)"):
        create_encoder(f"mobilefacenet_ca@{channel}")


@pytest.fixture(scope="module")
def trained(real_data: Path) -> Encoder:
    return create_encoder(f"mobilefacenet@{real_data / CHECKPOINT}").eval()


@pytest.mark.real_data
def test_published_checkpoint_loads_completely(trained: Encoder, real_data: Path) -> None:
    published = torch.load(real_data / CHECKPOINT, weights_only=True, map_location="cpu")["net_state_dict"]
    loaded = trained.state_dict()
    assert loaded.keys() == published.keys()
    assert all(torch.equal(loaded[name], published[name]) for name in published)
    assert trained.pretrained
    assert trained.weights is not None
    assert trained.weights.source == CHECKPOINT.name


@pytest.mark.real_data
@pytest.mark.parametrize("name", VARIANTS)
def test_published_checkpoint_scores_the_same_in_a_variant(name: str, trained: Encoder, real_data: Path) -> None:
    variant = create_encoder(f"{name}@{real_data / CHECKPOINT}").eval()
    people = sorted((real_data / "data" / "lfw").iterdir())[:16]
    crops = [sorted(person.iterdir())[0] for person in people]
    np.testing.assert_array_equal(_features(variant, crops), _features(trained, crops))
    assert variant.weights is not None
    assert (variant.weights.encoder, variant.weights.source) == (name, CHECKPOINT.name)


@pytest.mark.real_data
def test_checkpoint_of_another_input_size_is_refused(real_data: Path) -> None:
    shapes = r"linear7\.conv\.weight': found \(512, 1, 7, 6\), expected \(512, 1, 7, 7\)\)"
    with pytest.raises(WeightsError, match=f"{shapes}; expected MobileFaceNet at 112x112"):
        create_encoder(f"mobilefacenet@{real_data / CHECKPOINT}", input_size=(112, 112))


@pytest.mark.real_data
def test_images_of_one_person_are_more_similar_than_those_of_two(trained: Encoder, real_data: Path) -> None:
    people = [path for path in sorted((real_data / "data" / "lfw").iterdir()) if len(list(path.iterdir())) > 1]
    firsts = _features(trained, [sorted(person.iterdir())[0] for person in people[:24]])
    seconds = _features(trained, [sorted(person.iterdir())[1] for person in people[:24]])
    same = pair_similarity(firsts, seconds)
    different = pair_similarity(firsts, np.roll(seconds, 1, axis=0))
    assert np.median(same) > np.max(different)
    assert np.mean(same > different) > 0.9


def _features(encoder: Encoder, paths: list[Path]) -> np.ndarray:
    """Unit features of deep-funneled images, cut crudely where their faces are."""
    crops = [np.asarray(Image.open(path).convert("RGB"))[62:192, 60:190] for path in paths]
    pixels = encoder.input_spec.normalise(np.stack([encoder.input_spec.resize(crop) for crop in crops]))
    with torch.no_grad():
        return normalise(encoder(torch.from_numpy(pixels)).numpy())
