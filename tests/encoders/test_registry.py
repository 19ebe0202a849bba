import os
from pathlib import Path

import pytest
import torch

from siamese.encoders import create_encoder, create_untrained, list_encoders
from siamese.encoders.registry import ALIASES, BUILDERS
from siamese.errors import OptionError, WeightsError

REGISTERED = [*BUILDERS, *ALIASES]
# Besides ours, one network of each way that timm groups layers: a class token, no coarse groups, no groups at all.
STAGED = [*REGISTERED, "timm/test_resnet", "timm/test_vit", "timm/test_efficientnet", "timm/pit_ti_distilled_224"]


@pytest.mark.parametrize("name", STAGED)
def test_stages_hold_each_parameter_once_and_in_order(name: str) -> None:
    encoder = create_untrained(name)
    staged = [parameter for stage in encoder.stages() for module in stage for parameter in module.parameters()]
    assert len(encoder.stages()) > 2
    assert len(staged) == len({id(parameter) for parameter in staged})
    assert {id(parameter) for parameter in staged} == {id(parameter) for parameter in encoder.parameters()}


@pytest.mark.parametrize("name", [*REGISTERED, "timm/test_resnet"])
def test_stages_run_from_the_input_to_the_features(name: str) -> None:
    encoder = create_untrained(name).eval()
    order: list[int] = []
    for index, stage in enumerate(encoder.stages()):
        for module in stage:
            module.register_forward_hook(lambda *_, index=index: order.append(index))
    encoder(torch.zeros(1, 3, *encoder.input_spec.size))
    assert order == sorted(order)
    assert set(order) == set(range(len(encoder.stages())))


def test_freezing_a_stage_of_loose_parameters_reaches_the_network() -> None:
    encoder = create_untrained("timm/test_vit")
    for module in encoder.stages()[0]:
        module.requires_grad_(False)
    frozen = {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}
    assert {"network.cls_token", "network.pos_embed", "network.patch_embed.proj.weight"} <= frozen
    assert not any(name.startswith("network.blocks") for name in frozen)


@pytest.mark.parametrize("name", REGISTERED)
def test_an_image_has_the_same_features_alone_and_in_a_batch(name: str) -> None:
    encoder = create_untrained(name).eval()
    images = torch.randn(3, 3, *encoder.input_spec.size)
    with torch.no_grad():
        together = encoder(images)
        alone = torch.cat([encoder(image[None]) for image in images])
    assert together.shape == (3, encoder.feature_dim)
    assert together.dtype == torch.float32
    torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", REGISTERED)
def test_untrained_encoder_is_built_again_from_its_name_and_input(name: str) -> None:
    encoder = create_encoder(f"{name}@random", input_size=(128, 96))
    assert (encoder.name, encoder.pretrained, encoder.weights) == (name, False, None)
    spec = encoder.input_spec.model_copy(update={"interpolation": "bicubic", "mean": (0.1, 0.2, 0.3)})
    again = create_untrained(encoder.name, spec)
    assert again.input_spec == spec
    again.load_state_dict(encoder.state_dict())


def test_untrained_encoder_takes_no_weights() -> None:
    with pytest.raises(OptionError, match="'mobilefacenet@random': expected the architecture alone, without @"):
        create_untrained("mobilefacenet@random")


@pytest.mark.parametrize(
    ("name", "near"),
    [("mobilefacnet", "mobilefacenet"), ("resnet18", "timm/resnet18"), ("convnext", "convnext_atto")],
)
def test_unknown_encoder_offers_the_nearest(name: str, near: str) -> None:
    with pytest.raises(OptionError, match=f"unknown encoder '{name}': did you mean '{near}'"):
        create_encoder(name)


def test_unknown_tag_lists_the_known_ones() -> None:
    expected = (
        "unknown tag of encoder inception_resnet_v1 'vggface': did you mean 'vggface2'? "
        "known: casia-webface, random, vggface2; a file is given by its path, inception_resnet_v1@./vggface"
    )
    with pytest.raises(OptionError) as caught:
        create_encoder("inception_resnet_v1@vggface")
    assert str(caught.value) == expected


def test_nothing_after_the_at_sign_is_refused() -> None:
    with pytest.raises(OptionError, match="encoder 'mobilefacenet@': nothing follows @"):
        create_encoder("mobilefacenet@")


@pytest.mark.parametrize("size", [(0, 96), (-1, 5), (112,)])
def test_impossible_input_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(OptionError, match="expected height and width in pixels, each at least 1"):
        create_encoder("mobilefacenet@random", input_size=size)


@pytest.mark.parametrize("rest", ["no such.pt", "folder/weights", "UPPER.CKPT", "a.safetensors", "b.bin"])
def test_what_looks_like_a_path_and_is_missing_is_a_missing_file(rest: str) -> None:
    with pytest.raises(WeightsError) as caught:
        create_encoder(f"mobilefacenet@{rest}")
    assert str(caught.value) == f"weights {rest}: no such file; expected a file of weights, check the path"


def test_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is a folder; expected a file of weights"):
        create_encoder(f"mobilefacenet@{tmp_path}")


@pytest.mark.parametrize("file", ["Gewichte für später@v2.pt", "重み", "a b@c@d.ckpt"])
def test_files_may_hold_spaces_unicode_and_at_signs(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = create_untrained("mobilefacenet")
    torch.save({"net_state_dict": original.state_dict()}, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    for rest in (file, tmp_path / file):
        encoder = create_encoder(f"mobilefacenet@{rest}")
        assert torch.equal(encoder.state_dict()["conv1.conv.weight"], original.state_dict()["conv1.conv.weight"])
        assert encoder.weights is not None
        assert encoder.weights.source == file


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(create_untrained("mobilefacenet").state_dict(), tmp_path / "mine.pt")
    assert create_encoder(f"mobilefacenet@~{os.sep}mine.pt").pretrained


def test_listing_agrees_with_the_networks(cache: Path) -> None:
    first, *rows = list_encoders()
    assert first.name == "bundled"
    assert {row.name for row in rows} == {*REGISTERED, "timm/NAME", "openvino:PATH.xml"}
    for row in rows:
        if row.name in REGISTERED:
            encoder = create_untrained(row.name)
            assert (encoder.input_spec.size, encoder.feature_dim) == (row.input_size, row.feature_dim)
    for row in rows:
        assert row.path is None or row.path.is_relative_to(cache)
        assert not row.cached
    assert [(row.name, row.tag) for row in rows if row.default] == [
        ("inception_resnet_v1", "vggface2"),
        ("convnext_atto", "d2_in1k"),
    ]


def test_listing_sees_files_in_the_cache() -> None:
    row = next(row for row in list_encoders() if row.tag == "casia-webface")
    assert row.path is not None
    row.path.parent.mkdir(parents=True)
    row.path.touch()
    assert [row.tag for row in list_encoders() if row.cached and not row.packaged] == ["casia-webface"]
