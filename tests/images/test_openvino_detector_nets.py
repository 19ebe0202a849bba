"""The converted nets against facenet-pytorch's own."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import facenet_pytorch
import numpy as np
import pytest
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from numpy.typing import NDArray

from siamese.errors import WeightsError
from siamese.images.openvino_detector_conversion import WEIGHT_FILES, convert
from siamese.images.openvino_detector_files import detector_nets
from siamese.images.openvino_detector_nets import COMPILED, DetectorNets

WEIGHTS = Path(facenet_pytorch.__file__).parent / "data"


@pytest.fixture(scope="module")
def nets() -> DetectorNets:
    return DetectorNets(detector_nets(), threads=1)


def images(count: int, height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(height).uniform(-1, 1, (count, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("shape", [(12, 12), (13, 12), (14, 15), (151, 151), (60, 90), (91, 60)])
def test_the_proposal_net_gives_facenet_pytorchs_maps(nets: DetectorNets, shape: tuple[int, int]) -> None:
    pixels = images(1, *shape)
    with torch.no_grad():
        expected_offsets, expected = PNet()(torch.from_numpy(pixels))
    scores, offsets = nets.propose(pixels)
    assert scores.shape == expected.shape[2:]
    np.testing.assert_allclose(scores, expected[0, 1].numpy(), atol=1e-5)
    np.testing.assert_allclose(offsets, expected_offsets[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 32, 43, 75])
def test_the_refinement_net_gives_facenet_pytorchs_numbers(nets: DetectorNets, count: int) -> None:
    pixels = images(count, 24, 24)
    with torch.no_grad():
        expected_offsets, expected = RNet()(torch.from_numpy(pixels))
    scores, offsets = nets.refine(pixels)
    np.testing.assert_allclose(scores, expected[:, 1].numpy(), atol=1e-5)
    np.testing.assert_allclose(offsets, expected_offsets.numpy(), atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 19])
def test_the_output_net_gives_facenet_pytorchs_numbers(nets: DetectorNets, count: int) -> None:
    pixels = images(count, 48, 48)
    with torch.no_grad():
        expected_offsets, expected_landmarks, expected = ONet()(torch.from_numpy(pixels))
    scores, offsets, landmarks = nets.finish(pixels)
    np.testing.assert_allclose(scores, expected[:, 1].numpy(), atol=1e-5)
    np.testing.assert_allclose(offsets, expected_offsets.numpy(), atol=1e-5)
    np.testing.assert_allclose(landmarks, expected_landmarks.numpy(), atol=1e-5)


def test_no_crops_give_no_numbers(nets: DetectorNets) -> None:
    assert [values.shape for values in nets.refine(images(0, 24, 24))] == [(0,), (0, 4)]
    assert [values.shape for values in nets.finish(images(0, 48, 48))] == [(0,), (0, 4), (0, 10)]


def test_threads_do_not_mix_their_numbers(nets: DetectorNets) -> None:
    batches = [images(count, 24, 24) + np.float32(count / 50) for count in range(1, 40)]
    expected = [nets.refine(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(nets.refine, batches * 3), expected * 3, strict=True):
            for values, others in zip(found, alone, strict=True):
                np.testing.assert_array_equal(values, others)


def test_nets_run_where_nothing_can_be_written_beside_them(tmp_path: Path) -> None:
    from openvino import save_model

    for name, file in WEIGHT_FILES.items():
        save_model(convert(name, WEIGHTS / file), tmp_path / f"{name}.xml", compress_to_fp16=False)
    (tmp_path / COMPILED).write_text("in the way")
    nets = DetectorNets({name: tmp_path / f"{name}.xml" for name in WEIGHT_FILES}, threads=1)
    assert nets.refine(images(3, 24, 24))[0].shape == (3,)


def test_a_net_that_openvino_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "proposal.xml").write_text("<no net/>")
    start = re.escape(f"{tmp_path}/proposal.xml: OpenVINO cannot use this net of the face detector: ")
    with pytest.raises(WeightsError, match=f"^{start}[^\n]+; remove its folder, it is made anew$"):
        DetectorNets(dict.fromkeys(WEIGHT_FILES, tmp_path / "proposal.xml"), threads=1)


def test_weights_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pnet.pt"
    path.write_bytes(b"no weights")
    message = f"{path}: cannot be read as weights of MTCNN; install facenet-pytorch anew"
    with pytest.raises(WeightsError, match=f"^{re.escape(message)}$"):
        convert("proposal", path)


def test_weights_of_another_net_are_named() -> None:
    path = WEIGHTS / "rnet.pt"
    message = f"{path}: not the weights of MTCNN's output net; install facenet-pytorch anew"
    with pytest.raises(WeightsError, match=f"^{re.escape(message)}$"):
        convert("output", path)
