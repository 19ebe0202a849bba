"""Synthetic identities: the same seed gives the same bytes, and geometry tells people apart."""

from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from siamese.demo.canvas import pose
from siamese.demo.folder import write_identities
from siamese.demo.identity import Identity, identity_stream, ranges, sample_identities
from siamese.demo.render import render
from siamese.demo.variation import Occlusion, Variation, sample_variation
from siamese.errors import DataError, OptionError

SEED = 3


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def variations(count: int) -> list[Variation]:
    rng = np.random.default_rng(SEED)
    return [sample_variation(rng) for _ in range(count)]


def extreme(kind: type, end: int) -> dict[str, Any]:
    return {name: limits[end] for name, limits in ranges(kind).items()}


@pytest.fixture(scope="module")
def person() -> Identity:
    return sample_identities(1, SEED)[0]


def test_the_same_seed_draws_the_same_identities_and_another_seed_others() -> None:
    assert sample_identities(4, SEED) == sample_identities(4, SEED)
    assert not set(sample_identities(4, SEED)) & set(sample_identities(4, SEED + 1))


def test_the_first_identities_do_not_depend_on_how_many_there_are() -> None:
    assert sample_identities(9, SEED)[:2] == sample_identities(2, SEED)


def test_traits_are_spread_over_their_whole_range() -> None:
    low, high = np.array(list(ranges(Identity).values())).T
    shares = (np.array([astuple(p) for p in sample_identities(400, SEED)]) - low) / (high - low)
    assert shares.min() >= 0.0 and shares.max() <= 1.0
    # Mean and deviation of a uniform variable: 1/2 and 1/sqrt(12); four standard errors of the mean.
    assert np.abs(shares.mean(axis=0) - 0.5).max() < 4 * 12**-0.5 / 400**0.5
    np.testing.assert_allclose(shares.std(axis=0), 12**-0.5, rtol=0.15)


def test_sampled_variations_differ_and_hide_few_faces() -> None:
    drawn = variations(600)
    assert len(set(drawn)) == 600
    hidden = {kind: sum(v.occlusion == kind for v in drawn) for kind in ("glasses", "block", "band")}
    assert all(0 < count < 100 for count in hidden.values())


def test_rendering_is_a_pure_function(person: Identity) -> None:
    for variation in variations(12):
        first = render(person, variation)
        np.testing.assert_array_equal(first, render(person, variation))


@pytest.mark.parametrize("size", [32, 57, 112, 160])
def test_an_image_has_the_size_asked_for(person: Identity, size: int) -> None:
    image = render(person, Variation(), size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]


def test_an_image_looks_the_same_at_another_size(person: Identity) -> None:
    small, large = (render(person, Variation(), size).astype(float) for size in (56, 112))
    halved = large.reshape(56, 2, 56, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - small).mean() < 6.0


@pytest.mark.parametrize("occlusion", ["none", "glasses", "block", "band"])
@pytest.mark.parametrize(("who", "how"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_extremes_of_identity_and_variation_can_be_drawn(who: int, how: int, occlusion: Occlusion) -> None:
    identity = Identity(**extreme(Identity, who))
    variation = Variation(**extreme(Variation, how), occlusion=occlusion, scene_seed=SEED)
    image = render(identity, variation)
    assert image.shape == (112, 112, 3) and image.dtype == np.uint8
    assert image.std() > 5.0  # not one flat colour


@pytest.mark.parametrize("name", sorted(ranges(Variation)))
def test_every_circumstance_changes_the_image(person: Identity, name: str) -> None:
    low, high = (render(person, Variation(**_only(name, end))) for end in _ends(name))
    assert (low != high).any()


def _only(name: str, value: float) -> dict[str, Any]:
    return {name: value}


def _ends(name: str) -> tuple[float, float]:
    # 0 and 360 degrees are the same side.
    return (90.0, 270.0) if name == "light_angle" else ranges(Variation)[name]


@pytest.mark.parametrize("name", sorted(set(ranges(Identity)) - {"freckle_pattern"}))
def test_every_trait_changes_the_face(name: str) -> None:
    middle = Identity(**{n: (low + high) / 2 for n, (low, high) in ranges(Identity).items()})
    # A mole of no size has no place to see.
    middle = replace(middle, cheek_mole_size=0.03)
    low, high = (render(replace(middle, **{name: end}), Variation()) for end in ranges(Identity)[name])
    assert (low != high).any()


def test_freckles_differ_by_their_pattern(person: Identity) -> None:
    one, other = (replace(person, freckles=1.0, freckle_pattern=p) for p in (0.2, 0.7))
    assert (render(one, Variation()) != render(other, Variation())).any()


def test_an_identity_is_nearer_to_itself_than_to_others_under_near_neutral_circumstances() -> None:
    people = sample_identities(12, SEED)
    still = [Variation(), Variation(smile=0.3, yaw=2.0, shift_x=0.004, gain=0.97, brow_raise=0.2)]
    one, other = (np.stack([render(p, v) for p in people]).reshape(12, -1).astype(float) for v in still)
    distance = np.linalg.norm(one[:, None] - other[None], axis=2)
    np.testing.assert_array_equal(distance.argmin(axis=1), np.arange(12))


def test_the_background_belongs_to_the_image_and_not_to_the_identity() -> None:
    one, other = sample_identities(2, SEED)
    corners = [render(p, Variation(scene_seed=s, light_strength=0.0))[:6, :6] for p in (one, other) for s in (1, 2)]
    np.testing.assert_array_equal(corners[0], corners[2])
    assert (corners[0] != corners[1]).any()


def test_turning_the_head_moves_the_nose_further_than_the_outline(person: Identity) -> None:
    ahead, turned = (pose(person, Variation(yaw=yaw), 100) for yaw in (0.0, 20.0))
    nose, chin = [(0.0, person.nose_tip)], [(0.0, person.chin)]
    moved = turned.surface(nose, 0.2) - ahead.surface(nose, 0.2)
    # Depth of the ellipsoid at the nose, turned by 20 degrees.
    depth = ahead.radii[2] * (1 - (person.nose_tip / ahead.radii[1]) ** 2) ** 0.5 + 0.2
    np.testing.assert_allclose(moved, [[ahead.unit * depth * np.sin(np.radians(20.0)), 0.0]], atol=1e-9)
    assert moved[0, 0] > np.linalg.norm(turned.flat(chin) - ahead.flat(chin))


def test_rolling_turns_about_the_middle_of_the_head(person: Identity) -> None:
    rolled = pose(person, Variation(roll=10.0), 100)
    step = rolled.flat([(1.0, 0.0)]) - rolled.flat([(0.0, 0.0)])
    angle = np.radians(10.0)
    np.testing.assert_allclose(step, [[rolled.unit * np.cos(angle), rolled.unit * np.sin(angle)]], atol=1e-9)


def test_a_folder_holds_readable_images_of_every_identity(tmp_path: Path) -> None:
    write_identities(tmp_path / "set", identities=3, images=2, seed=SEED, size=48)
    names = [f"person_{i:03d}/{j:03d}.jpg" for i in (1, 2, 3) for j in (1, 2)]
    assert sorted(p.relative_to(tmp_path / "set").as_posix() for p in (tmp_path / "set").rglob("*.*")) == names
    for name in names:
        with Image.open(tmp_path / "set" / name) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (48, 48), "RGB")


def test_files_show_what_render_draws_in_rgb(tmp_path: Path) -> None:
    write_identities(tmp_path, identities=1, images=1, seed=SEED)
    expected = render(sample_identities(1, SEED)[0], sample_variation(identity_stream(SEED, 0, 1, 0)))
    with Image.open(tmp_path / "person_001" / "001.jpg") as image:
        written = np.asarray(image).astype(float)
    # Compression costs a few grey levels; swapped channels would cost far more.
    assert np.abs(written - expected).mean() < 5.0
    assert np.abs(written - expected).mean() < np.abs(written[..., ::-1] - expected).mean() / 2


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_identities(tmp_path / name, identities=2, images=2, seed=seed, size=48)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys() and not set(a.values()) & set(c.values())


def test_a_larger_set_contains_the_smaller_one(tmp_path: Path) -> None:
    write_identities(tmp_path / "small", identities=2, images=2, seed=SEED, size=48)
    write_identities(tmp_path / "large", identities=3, images=4, seed=SEED, size=48)
    assert contents(tmp_path / "small").items() <= contents(tmp_path / "large").items()


def test_an_interrupted_set_is_completed_in_place(tmp_path: Path) -> None:
    write_identities(tmp_path / "whole", identities=2, images=2, seed=SEED, size=48)
    write_identities(tmp_path / "part", identities=1, images=2, seed=SEED, size=48)
    write_identities(tmp_path / "part", identities=2, images=2, seed=SEED, size=48)
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "person_001").mkdir()
    (tmp_path / "person_001" / "009.jpg").write_bytes(b"mine")
    with pytest.raises(DataError) as failure:
        write_identities(tmp_path, identities=1, images=2, seed=SEED)
    assert str(failure.value) == (
        f"{tmp_path} already holds {Path('person_001', '009.jpg')}, which is not part of this set: "
        "expected a new or empty folder; name another or delete it"
    )
    assert list(contents(tmp_path).values()) == [b"mine"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("")
    with pytest.raises(DataError, match="set is a file: expected a folder to write images into; name another"):
        write_identities(tmp_path / "set", identities=1, images=1, seed=SEED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"identities": 0}, "identities is 0: expected a whole number of at least 1"),
        ({"images": -1}, "images is -1: expected a whole number of at least 1"),
        ({"seed": -1}, "seed is -1: expected a whole number of at least 0"),
        ({"size": 31}, "size is 31: expected 32 to 1024 pixels"),
        ({"size": 1025}, "size is 1025: expected 32 to 1024 pixels"),
    ],
)
def test_numbers_that_make_no_set_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, int], message: str
) -> None:
    with pytest.raises(OptionError) as failure:
        write_identities(tmp_path / "set", **{"identities": 1, "images": 1, "seed": 0, **options})
    assert str(failure.value) == message
    assert not (tmp_path / "set").exists()


def test_values_out_of_range_are_refused(person: Identity) -> None:
    with pytest.raises(OptionError, match=r"^identity jaw is 1\.5: expected a number from 0 to 1$"):
        replace(person, jaw=1.5)
    with pytest.raises(OptionError, match=r"^variation yaw is nan: expected a number from -30 to 30$"):
        Variation(yaw=float("nan"))
    with pytest.raises(OptionError, match=r"^variation scene_seed is -1: expected a whole number of at least 0$"):
        Variation(scene_seed=-1)
    with pytest.raises(OptionError, match=r"^unknown occlusion 'glases': did you mean 'glasses'\?"):
        Variation(occlusion="glases")  # type: ignore[arg-type]
