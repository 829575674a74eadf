"""Shared fixtures. The tests run against the installed package, never against the source tree."""

from __future__ import annotations

import importlib.util
import os
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import apsw
import hypothesis
import pytest

import vecsql
from tests.support.oracle import connect, new_file

# A slow machine is no failure.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

SOURCE = Path(__file__).resolve().parent.parent / "vecsql"

DRIVERS = [
    "sqlite3",
    "apsw",
    pytest.param(
        "pysqlite3",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("pysqlite3") is None, reason="pysqlite3 is not installed"
        ),
    ),
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-case", action="store_true", help="no case is slow because its test has many"
    )


@pytest.hookimpl(tryfirst=True)  # before pytest selects by -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks as slow all cases of a test but one.

    The name of the test chooses the case: of many tests with the same parameters, such as drivers
    and journal modes, the quick tier has some with each.
    """
    if config.getoption("--every-case"):
        return
    cases = defaultdict(list)
    for item in items:
        if item.get_closest_marker("slow") is None:
            cases[item.nodeid.partition("[")[0]].append(item)
    for name, of_one_test in cases.items():
        kept = zlib.crc32(name.encode()) % len(of_one_test)
        for item in of_one_test[:kept] + of_one_test[kept + 1 :]:
            item.add_marker(pytest.mark.slow)


def memory_directory() -> str | None:
    """A file system in memory, where the machine has one that takes files and runs libraries."""
    place = Path("/dev/shm")
    if not (place.is_dir() and os.access(place, os.W_OK)):
        return None
    found = os.statvfs(place)
    roomy = found.f_bavail * found.f_frsize > 4 << 30
    return str(place) if roomy and not found.f_flag & os.ST_NOEXEC else None


def pytest_configure() -> None:
    # A commit waits for the disk, and no test is about what a power cut leaves.
    place = memory_directory()
    if place is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", place)
    if Path(vecsql.__file__).resolve().parent == SOURCE:
        raise pytest.UsageError("vecsql was imported from the source tree: pip install . first")


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """The name of each SQLite driver that is installed."""
    return str(request.param)


@pytest.fixture
def db(driver):
    """A new in-memory database with the extension loaded, for each driver."""
    conn = vecsql.connect(":memory:", driver=driver)
    yield conn
    conn.close()


@pytest.fixture(params=["wal", "delete"])
def journal(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def conn(path: Path, journal: str) -> Iterator[apsw.Connection]:
    """A file in which t holds START."""
    c = new_file(path, journal)
    yield c
    c.close()


@pytest.fixture
def second(conn: apsw.Connection, path: Path) -> Iterator[apsw.Connection]:
    """Another connection to the same file."""
    c = connect(path)
    yield c
    c.close()
