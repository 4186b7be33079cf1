"""MovieLens by URL, from a server on this machine: kept if it is the right file, else nothing is."""

import hashlib
import io
import socket
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from recexplain.errors import DataError, OptionError
from recexplain.interactions import MovieLens1M
from recexplain.sequences import load_dataset

RATINGS = "".join(f"{user}::{item}::5::{item}\n" for user in range(1, 6) for item in (1, 2, 3))
MOVIES = "1::Toy Story (1995)::Animation|Comedy\n2::Shop: the señor, II (1966)::Drama\n3::Heat (1995)::Crime\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ml-1m/ratings.dat", RATINGS)
        archive.writestr("ml-1m/movies.dat", MOVIES.encode("latin-1"))
    return packed.getvalue()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache is left alone."""
    import pooch

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = Path(pooch.os_cache("recexplain"))
    if tmp_path not in folder.parents:
        pytest.skip("the cache folder of this system does not follow XDG_CACHE_HOME")
    return folder


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def kept(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()) if cache.exists() else []


def test_a_download_is_checked_unpacked_and_kept(site: tuple[str, Path], zipped: bytes, cache: Path) -> None:
    url, folder = site
    (folder / "ml-1m.zip").write_bytes(zipped)
    source = MovieLens1M(url=f"{url}/ml-1m.zip", md5=md5(zipped))
    first = load_dataset(source)
    assert len(first.histories) == 5
    assert first.vocabulary.title_of("2") == "Shop: the señor, II (1966)"
    assert kept(cache) == [f"{md5(zipped)}/ml-1m/movies.dat", f"{md5(zipped)}/ml-1m/ratings.dat"]
    (folder / "ml-1m.zip").unlink()
    assert load_dataset(source).data_hash == first.data_hash  # not asked for again


def test_another_file_is_refused_and_not_kept(site: tuple[str, Path], zipped: bytes, cache: Path) -> None:
    url, folder = site
    (folder / "ml-1m.zip").write_bytes(zipped + b"!")
    with pytest.raises(DataError, match=f"ml-1m.zip is not the file with md5 {md5(zipped)}, so it was not kept"):
        MovieLens1M(url=f"{url}/ml-1m.zip", md5=md5(zipped)).read()
    assert kept(cache) == []
    (folder / "ml-1m.zip").write_bytes(zipped)
    assert len(MovieLens1M(url=f"{url}/ml-1m.zip", md5=md5(zipped)).read().frame) == 15


def test_a_file_that_is_no_zip(site: tuple[str, Path]) -> None:
    url, folder = site
    (folder / "ml-1m.zip").write_bytes(b"abc")
    with pytest.raises(DataError, match=r"ml-1m\.zip is no zip file"):
        MovieLens1M(url=f"{url}/ml-1m.zip", md5=md5(b"abc")).read()


def test_no_such_file_on_the_server(site: tuple[str, Path], cache: Path) -> None:
    with pytest.raises(
        DataError, match=r"could not be downloaded \(the server answers 404\).* give the folder .*data\.path="
    ):
        MovieLens1M(url=f"{site[0]}/ml-1m.zip").read()
    assert kept(cache) == []


def test_no_server_at_all(cache: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError) as caught:
        MovieLens1M(url=f"http://127.0.0.1:{port}/ml-1m.zip").read()
    assert str(caught.value) == (
        f"http://127.0.0.1:{port}/ml-1m.zip could not be downloaded (ConnectionError); check the connection, "
        "or give the folder of the unpacked file as data.path="
    )
    assert kept(cache) == []


def test_an_address_of_another_kind() -> None:
    with pytest.raises(OptionError, match="url must begin with http:// or https://, not 'file:///etc/passwd'"):
        MovieLens1M(url="file:///etc/passwd").read()
