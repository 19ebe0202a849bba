from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1, fixed_image_standardization

from siamese.encoders import create_encoder
from siamese.errors import OptionError, WeightsError


@pytest.fixture(scope="module")
def library() -> InceptionResnetV1:
    """The library's network as published, with a classifier and statistics that are not the initial ones."""
    torch.manual_seed(0)
    network = InceptionResnetV1(classify=True, num_classes=10)
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, 80, 80))
    network.classify = False
    return network.eval()


@pytest.fixture(scope="module")
def file(library: InceptionResnetV1, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "20180402-vggface2.pt"
    torch.save(library.state_dict(), path)
    return path


def test_features_are_those_of_the_library_for_the_same_weights(library: InceptionResnetV1, file: Path) -> None:
    encoder = create_encoder(f"inception_resnet_v1@{file}").eval()
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(encoder(images), library(images))
    assert encoder.pretrained
    assert not any(name.startswith("network.logits") for name in encoder.state_dict())


def test_input_is_standardised_as_the_library_does() -> None:
    spec = create_encoder("inception_resnet_v1@random").input_spec
    assert (spec.size, spec.alignment, spec.channels) == ((160, 160), "mtcnn-160", "RGB")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 160, 160, 3), np.uint8)
    expected = fixed_image_standardization(torch.tensor(pixels, dtype=torch.float32)).permute(0, 3, 1, 2)
    np.testing.assert_allclose(spec.normalise(pixels), expected.numpy(), atol=1e-6)


def test_smallest_input_works_and_a_smaller_one_is_refused() -> None:
    encoder = create_encoder("inception_resnet_v1@random", input_size=(75, 75)).eval()
    assert encoder(torch.zeros(1, 3, 75, 75)).shape == (1, 512)
    with pytest.raises(OptionError, match="input size 160x74: inception_resnet_v1 needs at least 75x75"):
        create_encoder("inception_resnet_v1@random", input_size=(160, 74))


def test_another_layout_is_refused_with_the_first_missing_name(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "other.pt")
    expected = (
        r"other\.pt: another layout: \d+ missing \(first 'conv2d_1a\.conv\.weight'\), "
        r"1 unexpected \(first 'fc\.weight'\); expected facenet-pytorch's InceptionResnetV1"
    )
    with pytest.raises(WeightsError, match=expected):
        create_encoder(f"inception_resnet_v1@{tmp_path / 'other.pt'}")


def test_file_at_the_place_of_a_tag_must_be_the_published_one(file: Path, cache: Path) -> None:
    place = cache / "weights" / "inception_resnet_v1-vggface2.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(file.read_bytes())
    with pytest.raises(WeightsError, match=r"expected 281cebca\w+ \(published\)"):
        create_encoder("inception_resnet_v1")


def test_file_placed_by_hand_for_a_tag_without_published_hash_is_loaded(
    library: InceptionResnetV1, file: Path, cache: Path
) -> None:
    place = cache / "weights" / "inception_resnet_v1-casia-webface.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(file.read_bytes())
    encoder = create_encoder("inception_resnet_v1@casia-webface")
    assert torch.equal(encoder.state_dict()["network.last_linear.weight"], library.last_linear.weight)
    assert encoder.weights is not None
    assert (encoder.weights.tag, encoder.weights.training_set) == ("casia-webface", "CASIA-WebFace")
    assert place.with_name(f"{place.name}.sha256").read_text().startswith(encoder.weights.sha256)
