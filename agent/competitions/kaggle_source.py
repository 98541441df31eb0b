"""The raw files of a Kaggle competition: what the user has, or a download, checked before use."""

import hashlib
import http.client
import shutil
import stat
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agent.competitions.catalogue import CatalogueEntry
from agent.competitions.kaggle_token import SETTINGS, authorization

KAGGLE_API = "https://www.kaggle.com/api/v1"
BLOCK = 1 << 20
SECONDS = 60  # without a byte, after which a server counts as unreachable
BY_HAND = "or download the archive by hand and name it with --archive"
LOST = (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException)
FreeBytes = Callable[[Path], int]


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class RawSource:
    """Where raw files come from: `archive` if the user has one, else the network."""

    archive: Path | None  # zip or folder, laid out as Kaggle's, or as DSBench's for its tasks
    dsbench: str  # address of DSBench's archive
    environment: Mapping[str, str]  # may hold KAGGLE_USERNAME and KAGGLE_KEY
    home: Path  # may hold .kaggle/kaggle.json
    kaggle: str = KAGGLE_API
    free: FreeBytes = free_bytes


def obtain(entry: CatalogueEntry, source: RawSource, folder: Path) -> Path:
    """The archive, or the folder of its files; a download is written into `folder`."""
    if source.archive is not None:
        if not source.archive.exists():
            raise FileNotFoundError(f"--archive {source.archive}: no such file or folder")
        return source.archive
    target = folder / "archive.zip"
    refusals = {}
    if entry.source == "dsbench":
        request = urllib.request.Request(source.dsbench)
    else:
        request = kaggle_request(entry.slug, source)
        refusals[401] = f"Kaggle does not know this token: make a new one at {SETTINGS}"
        refusals[403] = (
            f"{entry.slug}: Kaggle refuses (HTTP 403): accept the competition's rules at "
            f"{entry.licence_link} with the account whose token this is, {BY_HAND}"
        )
    download(request, target, refusals, source.free)
    return target


def kaggle_request(slug: str, source: RawSource) -> urllib.request.Request:
    try:
        token = authorization(source.environment, source.home)
    except FileNotFoundError as none:
        raise FileNotFoundError(f"{slug}: {none}, {BY_HAND}") from None
    request = urllib.request.Request(f"{source.kaggle}/competitions/data/download-all/{slug}")
    # Kaggle redirects to a store elsewhere, which must not be told the token.
    request.add_unredirected_header("Authorization", token)
    return request


def download(
    request: urllib.request.Request, target: Path, refusals: Mapping[int, str], free: FreeBytes
) -> None:
    """Write what the server gives into `target`, whole; `refusals` words its status codes."""
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            stated = int(answer.headers.get("Content-Length") or 0)
            check_space(target.parent, stated, free)
            with target.open("wb") as file:
                shutil.copyfileobj(answer, file, BLOCK)
    except urllib.error.HTTPError as refused:
        unknown = f"{request.full_url}: HTTP {refused.code}: try again later, {BY_HAND}"
        raise PermissionError(refusals.get(refused.code, unknown)) from refused
    except (
        urllib.error.URLError,
        ConnectionError,
        TimeoutError,
        http.client.HTTPException,
    ) as lost:
        reason = getattr(lost, "reason", None) or str(lost) or type(lost).__name__
        raise ConnectionError(
            f"{request.host}: cannot be reached ({reason}): check the network, {BY_HAND}"
        ) from lost
    if stated and target.stat().st_size != stated:
        raise ConnectionError(f"{request.full_url}: ended early: check the network, {BY_HAND}")


def check_space(folder: Path, needed: int, free: FreeBytes) -> None:
    """Raise unless `needed` bytes are free where `folder` lies."""
    have = free(folder)
    if have < needed:
        raise OSError(
            f"{folder.parent}: {_megabytes(needed)} MB are needed and {_megabytes(have)} MB free: "
            "make room, or prepare on another disk"
        )


def stated_room(entry: CatalogueEntry, source: RawSource) -> int:
    """Bytes that preparing takes, by the size on the competition's page; 0 when it gives none.

    That many for the raw files, for what is prepared from them, and for a download.
    """
    return int((entry.size_mb or 0) * 1e6) * (3 if source.archive is None else 2)


def unpack(archive: Path, folder: Path, free: FreeBytes, inside: tuple[str, ...] = ("",)) -> None:
    """Unpack the members whose names begin with one of `inside`; a folder is copied instead.

    Archives within the archive stay as they are: MLE-Dojo's prepare scripts open those they need.
    Reading a member to its end verifies its checksum, so that damage is found in one pass.
    """
    if archive.is_dir():
        sizes = [path.stat().st_size for path in archive.rglob("*") if path.is_file()]
        check_space(folder.parent, 2 * sum(sizes), free)
        shutil.copytree(archive, folder)
        return
    with _opened(archive) as content:
        members = content.infolist()
        for member in members:
            _check_member(archive, member)
        wanted = [member for member in members if member.filename.startswith(inside)]
        check_space(folder.parent, 2 * sum(member.file_size for member in wanted), free)
        folder.mkdir(parents=True)
        for member in wanted:
            content.extract(member, folder)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    remedy = "download it again"
    try:
        with zipfile.ZipFile(archive) as content:
            yield content
    except (zipfile.BadZipFile, zlib.error, EOFError) as damaged:
        raise ValueError(f"{archive.name}: damaged, or no zip: {damaged}; {remedy}") from damaged
    except NotImplementedError as unknown:
        raise ValueError(f"{archive.name}: {unknown}; unpack it and name the folder") from unknown


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    outside = name.is_absolute() or ".." in name.parts
    if outside or stat.S_ISLNK(member.external_attr >> 16) or member.flag_bits & 1:
        raise ValueError(
            f"{archive.name}: {member.filename!r} is a link, encrypted or leads out of the "
            "archive, which Kaggle's never do; download it again"
        )


def checksum(path: Path) -> str:
    """SHA-256 of a file, or of the sorted names and checksums of a folder's files."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{checksum(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"
