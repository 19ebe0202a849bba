import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from siamese.encoders import WeightEntry, fetch
from siamese.encoders.weights import ENTRIES, cache_folder, cached_path, record_of, record_of_file
from siamese.errors import WeightsError

BODY = bytes(range(256)) * 9000  # more than two chunks
DIGEST = hashlib.sha256(BODY).hexdigest()


def entry(server: Any, **changes: Any) -> WeightEntry:
    fields = {
        "encoder": "timm/some net",
        "tag": "a1",
        "url": f"{server.url}/weights.pt",
        "bytes": 2_304_000,
        "licence": "mit",
        "training_set": "none",
        "source": "loopback",
    }
    return WeightEntry(**{**fields, **changes})


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_fetch_downloads_verifies_and_then_asks_no_more(server: Any, cache: Path) -> None:
    server.files["/weights.pt"] = BODY
    known = entry(server, sha256=DIGEST)
    path = fetch(known)
    assert path == cache / "weights" / "timm_some_net-a1.pt"
    assert path.read_bytes() == BODY
    assert fetch(known) == path
    assert server.requests == ["/weights.pt"]
    assert files_in(cache) == ["timm_some_net-a1.pt"]
    assert record_of(known).sha256 == DIGEST


def test_download_shows_a_progress_bar_in_bytes(
    server: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/weights.pt"] = BODY
    caplog.set_level(logging.INFO, logger="siamese")
    fetch(entry(server))
    shown = capsys.readouterr().err
    assert "download weights.pt: 100%" in shown
    assert "2.30M/2.30M" in shown
    assert "B/s" in shown


def test_unknown_hash_is_recorded_when_first_seen_and_holds_from_then_on(
    server: Any, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.files["/weights.pt"] = BODY
    caplog.set_level(logging.INFO, logger="siamese")
    path = fetch(entry(server))
    sidecar = path.with_name("timm_some_net-a1.pt.sha256")
    assert sidecar.read_text() == f"{DIGEST}  timm_some_net-a1.pt\n"
    assert f"recorded SHA-256 {DIGEST}" in caplog.text
    assert record_of(entry(server)).sha256 == DIGEST

    path.write_bytes(BODY + b"x")
    changed = hashlib.sha256(BODY + b"x").hexdigest()
    with pytest.raises(WeightsError) as caught:
        fetch(entry(server))
    message = str(caught.value)
    assert f"SHA-256 is {changed}, expected {DIGEST} (recorded in {sidecar})" in message
    assert "\n" not in message
    assert path.read_bytes() == BODY + b"x"


def test_recorded_hash_holds_for_a_later_download_too(server: Any, cache: Path) -> None:
    server.files["/weights.pt"] = BODY
    path = fetch(entry(server))
    path.unlink()
    server.files["/weights.pt"] = b"another"
    with pytest.raises(WeightsError, match=f"expected {DIGEST}: not kept"):
        fetch(entry(server))
    assert not path.exists()


def test_malformed_record_is_refused(server: Any) -> None:
    server.files["/weights.pt"] = BODY
    path = fetch(entry(server))
    path.with_name(f"{path.name}.sha256").write_text("d34db33f\n")
    with pytest.raises(WeightsError, match=r"a1\.pt\.sha256: expected a line 'SHA-256  timm_some_net-a1\.pt'"):
        fetch(entry(server))


def test_downloaded_file_with_another_hash_is_not_kept(server: Any, cache: Path) -> None:
    server.files["/weights.pt"] = BODY
    with pytest.raises(WeightsError) as caught:
        fetch(entry(server, sha256="0" * 64))
    message = str(caught.value)
    assert f"has SHA-256 {DIGEST}, expected {'0' * 64}: not kept" in message
    assert str(cache / "weights" / "timm_some_net-a1.pt") in message
    assert files_in(cache) == []


def test_file_placed_by_hand_is_taken_without_asking_a_server(server: Any) -> None:
    path = cached_path(entry(server))
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    assert fetch(entry(server, sha256=DIGEST)) == path
    assert server.requests == []


def test_file_placed_by_hand_with_another_hash_is_refused_and_left_alone(server: Any) -> None:
    path = cached_path(entry(server))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(WeightsError) as caught:
        fetch(entry(server, sha256=DIGEST))
    message = str(caught.value)
    found = hashlib.sha256(b"mine").hexdigest()
    assert f"weights {path}: SHA-256 is {found}, expected {DIGEST} (published)" in message
    assert f"delete {path} to download {server.url}/weights.pt again" in message
    assert path.read_bytes() == b"mine"
    assert server.requests == []


def test_without_a_server_the_message_holds_url_size_and_place(server: Any, cache: Path) -> None:
    gone = entry(server, bytes=107_000_000)
    server.stop()
    with pytest.raises(WeightsError) as caught:
        fetch(gone)
    message = str(caught.value)
    assert "cannot download weights (" in message
    place = cache / "weights" / "timm_some_net-a1.pt"
    assert f"download {gone.url} (107 MB) elsewhere and put it at {place}" in message
    assert "\n" not in message
    assert files_in(cache) == []


def test_answer_of_a_server_without_the_file_is_named(server: Any) -> None:
    with pytest.raises(WeightsError, match=r"the server answers 404 Not Found\): download http://127"):
        fetch(entry(server))


def test_interrupted_download_leaves_nothing(server: Any, cache: Path) -> None:
    server.files["/weights.pt"] = BODY
    server.breaks_after = 1_500_000
    with pytest.raises(WeightsError, match="the connection closed after 1500000 of 2304000 bytes"):
        fetch(entry(server))
    assert files_in(cache) == []


def test_cache_that_cannot_be_made_is_named(server: Any, cache: Path) -> None:
    server.files["/weights.pt"] = BODY
    cache.write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=r"cannot download weights \(.*cache"):
        fetch(entry(server))


def test_entry_refuses_urls_that_read_local_files(server: Any) -> None:
    with pytest.raises(ValidationError, match="url"):
        entry(server, url="file:///etc/passwd")


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("SIAMESE_CACHE", "")
    assert cache_folder() == tmp_path / "xdg" / "siamese"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "siamese"


def test_record_of_a_file_names_the_file_but_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(BODY)
    record = record_of_file("mobilefacenet", path)
    assert (record.encoder, record.tag, record.source, record.sha256) == ("mobilefacenet", None, "mine.pt", DIGEST)


def test_entries_have_places_of_their_own() -> None:
    places = [cached_path(entry) for entry in ENTRIES]
    assert len(set(places)) == len(ENTRIES)


def test_listing_imports_neither_torch_nor_timm() -> None:
    program = (
        "import sys; from siamese.encoders import list_encoders; list_encoders();"
        "print([name for name in ('torch', 'timm', 'facenet_pytorch', 'cv2') if name in sys.modules])"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
