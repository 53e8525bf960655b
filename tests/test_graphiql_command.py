"""`slipway graphiql`: GraphiQL's files from npm, whole or not at all."""

import gzip
from pathlib import Path

from app.api.graphiql_files import are_in, compressed, files
from tests.node.graphiql import NOT_FETCHED, SLIPWAY, fetch_graphiql, run_graphiql
from tests.node.programs import program


def test_npm_has_the_files_that_the_page_names(tmp_path: Path) -> None:
    """All seven, each with the content that its hash was made of, readable by whoever the server runs as."""
    fetched = tmp_path / "graphiql"
    assert fetch_graphiql(fetched) == f"7 files of GraphiQL, 4.1 MB (1.1 MB gzipped), are in {fetched}"
    assert are_in(fetched)
    found = {path for path in fetched.rglob("*") if path.is_file()}
    assert found == {compressed(fetched, file) for file in files()}
    for file in files():
        assert file.is_whole(gzip.decompress(compressed(fetched, file).read_bytes()))
        assert compressed(fetched, file).stat().st_mode & 0o777 == 0o644


def test_without_npm_it_says_what_to_install(tmp_path: Path) -> None:
    """And leaves nothing behind."""
    done = run_graphiql(tmp_path / "graphiql", PATH=str(SLIPWAY.parent))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Install Node" in done.stderr
    assert not (tmp_path / "graphiql").exists()


def test_without_a_registry_it_says_so(tmp_path: Path) -> None:
    """npm's own words are shown, and nothing is left behind."""
    program("npm", NOT_FETCHED)
    nowhere = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_fetch_retries": "0"}
    done = run_graphiql(tmp_path / "graphiql", npm_config_cache=str(tmp_path / "cache"), **nowhere)
    assert (done.returncode, done.stdout) == (2, "")
    assert "npm could not fetch" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "graphiql").exists()
