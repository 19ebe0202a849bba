from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from siamese.encoders import create_encoder, create_untrained
from siamese.encoders.timm_encoder import TimmEncoder, entry_of
from siamese.encoders.weights import ENTRIES
from siamese.errors import OptionError, WeightsError

# Families with different heads: pooled linear, norm before linear, class token, linear after a widening neck.
ARCHITECTURES = ("test_resnet", "test_convnext", "test_vit", "mobilenetv3_small_050", "levit_128s")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_features_are_those_of_timm_for_a_published_file_with_classifier(architecture: str, tmp_path: Path) -> None:
    published = timm.create_model(architecture, num_classes=1000).eval()
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    encoder = create_encoder(f"timm/{architecture}@{tmp_path / 'model.safetensors'}").eval()
    images = torch.randn(2, 3, *encoder.input_spec.size)
    with torch.no_grad():
        expected = published.forward_head(published.forward_features(images), pre_logits=True)
        torch.testing.assert_close(encoder(images), expected)
    assert encoder.feature_dim == expected.shape[1]


def test_tag_takes_the_file_from_the_cache_and_timm_downloads_nothing(cache: Path) -> None:
    published = timm.create_model("test_resnet", num_classes=1000).eval()
    place = cache / "weights" / "timm_test_resnet-r160_in1k.safetensors"
    place.parent.mkdir(parents=True)
    save_file(published.state_dict(), place)
    for name in ("timm/test_resnet", "timm/test_resnet.r160_in1k", "timm/test_resnet@r160_in1k"):
        encoder = create_encoder(name)
        assert encoder.name == "timm/test_resnet"
        assert torch.equal(encoder.state_dict()["network.conv1.0.weight"], published.conv1[0].weight)
        assert encoder.weights is not None
        assert (encoder.weights.tag, encoder.weights.licence) == ("r160_in1k", "apache-2.0")


def test_input_is_what_timm_resolves_for_the_tag() -> None:
    spec = create_encoder("timm/test_resnet@random").input_spec
    config = timm.data.resolve_model_data_config(timm.create_model("test_resnet"))
    assert (3, *spec.size) == config["input_size"]
    assert (spec.mean, spec.std) == (config["mean"], config["std"])
    assert (spec.interpolation, spec.fit, spec.alignment) == (config["interpolation"], "crop", "none")
    other = create_encoder("timm/vit_tiny_patch16_224.augreg_in21k@random").input_spec
    assert (other.mean, other.interpolation) == ((0.5, 0.5, 0.5), "bicubic")


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit", "test_maxvit"])
def test_input_size_can_be_chosen_and_weights_follow(architecture: str, tmp_path: Path) -> None:
    published = timm.create_model(architecture, num_classes=1000)
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    encoder = create_encoder(f"timm/{architecture}@{tmp_path / 'model.safetensors'}", input_size=(192, 192)).eval()
    assert encoder.input_spec.size == (192, 192)
    assert encoder(torch.randn(1, 3, 192, 192)).shape == (1, encoder.feature_dim)
    again = create_untrained(encoder.name, encoder.input_spec).eval()
    again.load_state_dict(encoder.state_dict())
    images = torch.randn(1, 3, 192, 192)
    assert torch.equal(again(images), encoder(images))


def test_impossible_input_size_is_refused_with_timms_reason() -> None:
    expected = (
        r"timm/test_vit: cannot be built for input size 100x160 \(.*100.* divisible .*\); its own size is 160x160"
    )
    with pytest.raises(OptionError, match=expected):
        create_encoder("timm/test_vit@random", input_size=(100, 160))
    with pytest.raises(OptionError, match=r"timm/vgg11: cannot be built for input size 8x8 \("):
        create_encoder("timm/vgg11@random", input_size=(8, 8))


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit"])
def test_another_layout_is_refused(architecture: str, tmp_path: Path) -> None:
    save_file({"foreign.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=rf"other\.safetensors: another layout.*timm's {architecture}"):
        create_encoder(f"timm/{architecture}@{tmp_path / 'other.safetensors'}")


def test_file_without_one_layer_is_refused(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    del state["conv1.0.weight"]
    torch.save(state, tmp_path / "lacking.pth")
    with pytest.raises(
        WeightsError, match=r"another layout: 1 missing \(first 'conv1\.0\.weight'\); expected timm's"
    ):
        create_encoder(f"timm/test_resnet@{tmp_path / 'lacking.pth'}")


def test_unknown_architecture_offers_at_most_five_nearest() -> None:
    with pytest.raises(OptionError) as caught:
        create_encoder("timm/resnt18")
    message = str(caught.value)
    assert message.startswith("unknown encoder 'timm/resnt18': did you mean 'timm/resnet18'? known: ")
    assert message.count("timm/") <= 2 + 5
    with pytest.raises(OptionError, match="timm has no architecture with a name like it"):
        create_encoder("timm/0000000000")


def test_location_of_another_machine_is_no_architecture() -> None:
    with pytest.raises(OptionError, match="unknown encoder 'timm/hf-hub:somebody/something'"):
        create_encoder("timm/hf-hub:somebody/something")


def test_unknown_tag_lists_the_known_ones() -> None:
    with pytest.raises(
        OptionError, match=r"unknown tag of encoder timm/resnet18 'a9_in1k': did you mean '\w+'\?.*tv_in1k"
    ):
        create_encoder("timm/resnet18@a9_in1k")
    with pytest.raises(OptionError, match=r"unknown tag of encoder timm/resnet18 'a9_in1k'.*tv_in1k"):
        create_encoder("timm/resnet18.a9_in1k@random")
    with pytest.raises(OptionError, match=r"unknown tag of encoder timm/resnet18\.a1_in1k 'a2_in1k'"):
        create_encoder("timm/resnet18.a1_in1k@a2_in1k")


def test_architecture_without_published_weights_asks_for_a_file() -> None:
    without = next(name for name in timm.list_models() if not timm.list_pretrained(f"{name}.*"))
    with pytest.raises(OptionError, match=f"give timm/{without}@FILE, or timm/{without}@random"):
        create_encoder(f"timm/{without}")


def test_entries_of_timm_name_its_files() -> None:
    hub = entry_of(TimmEncoder("test_resnet"), "r160_in1k")
    assert hub.url.endswith("/timm/test_resnet.r160_in1k/resolve/main/model.safetensors")
    full = sum(parameter.numel() for parameter in timm.create_model("test_resnet").parameters())
    assert hub.bytes == pytest.approx(4 * full, rel=0.01)
    direct = entry_of(TimmEncoder("legacy_seresnet18"), "in1k")
    assert direct.url == timm.get_pretrained_cfg("legacy_seresnet18").url


def test_literal_entry_of_convnext_atto_agrees_with_timm() -> None:
    (literal,) = [entry for entry in ENTRIES if entry.encoder == "timm/convnext_atto"]
    cfg = timm.get_pretrained_cfg("convnext_atto")
    assert f"/{cfg.hf_hub_id}/resolve/main/model.safetensors" in literal.url
    assert (literal.tag, literal.licence) == (cfg.tag, cfg.license)
    full = sum(parameter.numel() for parameter in timm.create_model("convnext_atto").parameters())
    assert literal.bytes == pytest.approx(4 * full, rel=0.02)
