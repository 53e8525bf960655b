"""`slipway graphiql`: GraphiQL's files from npm, checked, into the folder that the server looks in."""

import gzip
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import msgspec

from app.api.graphiql_files import File, compressed, files

_WITHIN_SECONDS = 300


class NotFetched(Exception):
    """The files could not be had; the message says why and what to do."""


class _Packed(msgspec.Struct):
    """What npm says of a package that it has fetched."""

    id: str
    filename: str


def fetch(folder: Path) -> None:
    """Put every file into the folder, or none. Raises `NotFetched`."""
    with tempfile.TemporaryDirectory(prefix="slipway-graphiql-") as temporary:
        archives = _archives(Path(temporary))
        contents = {file: _content(file, archives[file.package]) for file in files()}
    try:
        for file, content in contents.items():
            _write(compressed(folder, file), gzip.compress(content, mtime=0))
    except OSError as error:
        raise NotFetched(f"{folder} cannot be written: {error.strerror}. Name another with --folder.") from None
    size, sent = sum(map(len, contents.values())), sum(compressed(folder, file).stat().st_size for file in files())
    print(f"{len(contents)} files of GraphiQL, {size / 1e6:.1f} MB ({sent / 1e6:.1f} MB gzipped), are in {folder}")


def _archives(folder: Path) -> dict[str, Path]:
    """The packages alone, without what they depend on, which is bundled in them; npm checks them by its hashes."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched("npm is not installed. Install Node 20 or newer (https://nodejs.org), which brings it.")
    packages = sorted({file.package for file in files()})
    command = [npm, "pack", "--json", "--ignore-scripts", "--pack-destination", str(folder), *packages]
    try:
        done = subprocess.run(  # noqa: S603 (npm, on names that Strawberry's page gives)
            command, cwd=folder, capture_output=True, text=True, timeout=_WITHIN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotFetched(f"npm did not end within {_WITHIN_SECONDS} s.") from None
    if done.returncode:
        raise NotFetched(f"npm could not fetch {', '.join(packages)}:\n{done.stderr.strip()[-1000:]}")
    try:
        packed = msgspec.json.decode(done.stdout, type=list[_Packed])
    except msgspec.MsgspecError as error:
        raise NotFetched(f"npm said something unexpected of what it fetched: {error}") from None
    archives = {each.id: folder / each.filename for each in packed}
    if missing := set(packages) - set(archives):
        raise NotFetched(f"npm did not fetch {', '.join(sorted(missing))}.")
    return archives


def _content(file: File, archive: Path) -> bytes:
    """The file as it is in the package, held to the hash that Strawberry's page has of it. Nothing is unpacked."""
    with tarfile.open(archive) as package:
        try:
            member = package.extractfile(f"package/{file.within}")
        except KeyError:
            member = None
        content = b"" if member is None else member.read()
    if not file.is_whole(content):
        raise NotFetched(f"{file.path} is not what its hash says ({file.integrity}). Nothing was written.")
    return content


def _write(path: Path, content: bytes) -> None:
    """Write the file in one go: a server may be serving it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's is its user's alone, and the server may be another
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
