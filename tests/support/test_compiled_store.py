"""The folder of compiled code: whole files of our own or nothing, and never an error."""

from __future__ import annotations

import logging
import os
import resource
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from _ranef.support import compiled_store
from permissions import without_privileges

NOBODY = 65534

SOURCES = Path(compiled_store.__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="owners and permissions as POSIX has them")


@pytest.fixture
def where(tmp_path, monkeypatch):
    """A folder that is not there yet."""
    monkeypatch.setattr(compiled_store, "_told", set())
    monkeypatch.setenv("RANEF_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(where):
    """What was kept under a key."""
    compiled_store.write("code", "key", b"content")
    (path,) = where.iterdir()
    return path


def test_what_is_kept_is_found_under_its_key_only(file):
    assert compiled_store.read("code", "key") == b"content"
    assert compiled_store.read("code", "another") is None
    assert compiled_store.read("other", "key") is None


def test_folder_and_files_are_the_users_alone(file):
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def lengthened(path):
    path.write_bytes(path.read_bytes() + b"\0")


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def garbage(path):
    path.write_bytes(b"\x80\x05not what it should be")


def of_another_key(path):
    compiled_store.write("code", "another", b"content")
    (other,) = set(path.parent.iterdir()) - {path}
    other.replace(path)


def written_by_all(path):
    path.chmod(0o666)


def written_by_the_group(path):
    path.chmod(0o620)


def a_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def of_another_user(path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, NOBODY, NOBODY)


DAMAGES = [empty, cut, lengthened, one_bit, garbage, of_another_key, written_by_all, written_by_the_group, a_link]
DAMAGES += [a_folder, a_pipe, of_another_user]


@pytest.mark.parametrize("damage", DAMAGES)
def test_anything_else_is_as_if_it_were_not_there(damage, file, caplog):
    damage(file)
    assert compiled_store.read("code", "key") is None
    assert compiled_store.read("code", "key") is None
    assert [r.levelno for r in caplog.records] == [logging.WARNING]  # once
    assert str(file) in caplog.text
    if damage is not a_folder:
        compiled_store.write("code", "key", b"anew")
        assert compiled_store.read("code", "key") == b"anew"
        assert stat.S_IMODE(file.lstat().st_mode) == 0o600


def test_a_link_is_not_written_through(file, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    file.unlink()
    file.symlink_to(victim)
    compiled_store.write("code", "key", b"anew")
    assert victim.read_text() == "untouched"
    assert compiled_store.read("code", "key") == b"anew"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o2775])
def test_in_a_shared_folder_each_user_has_one_of_their_own(where, mode):
    where.mkdir()
    where.chmod(mode)
    compiled_store.write("code", "key", b"content")
    (own,) = where.iterdir()
    assert stat.S_IMODE(own.stat().st_mode) & 0o777 == 0o700
    assert compiled_store.read("code", "key") == b"content"


def test_a_folder_that_another_user_made_for_us_is_refused(where, caplog):
    where.mkdir()
    where.chmod(0o1777)
    own = where / f"ranef-{os.geteuid()}"
    own.mkdir()
    own.chmod(0o777)
    compiled_store.write("code", "key", b"content")
    assert list(own.iterdir()) == []
    assert compiled_store.folder() is None
    assert len(caplog.records) == 1


def test_tilde_is_the_home(monkeypatch, where, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RANEF_CACHE_DIR", "~/mine")
    assert compiled_store.folder() == tmp_path / "mine"
    assert (tmp_path / "mine").is_dir()


def test_off_reads_and_writes_nothing_and_says_so_once(file, monkeypatch, caplog):
    before = file.read_bytes()
    monkeypatch.setenv("RANEF_CACHE_DIR", "OFF")
    assert compiled_store.folder() is None
    assert compiled_store.read("code", "key") is None
    compiled_store.write("code", "key", b"anew")
    compiled_store.write("code", "another", b"anew")
    assert len(caplog.records) == 1
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_place_that_is_no_folder_takes_speed_only(where, monkeypatch, caplog):
    where.write_text("in the way")
    for chosen in (where, where / "below"):
        monkeypatch.setenv("RANEF_CACHE_DIR", str(chosen))
        compiled_store.write("code", "key", b"content")
        assert compiled_store.read("code", "key") is None
    assert where.read_text() == "in the way"
    assert len(caplog.records) == 1


def test_a_disk_without_room_takes_speed_only(where, caplog):
    """A limit of the size of files stands for it: a write fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        compiled_store.write("code", "key", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(where.iterdir()) == []
    assert len(caplog.records) == 1
    assert compiled_store.read("code", "key") is None


def test_only_the_latest_files_of_a_kind_are_kept_and_no_others_touched(where, monkeypatch):
    monkeypatch.setattr(compiled_store, "MOST_FILES", 3)
    compiled_store.write("other", "key", b"content")
    mine = [where / name for name in ("mine.code", ".ranef-notes", f"{'g' * 40}.code")]
    for path in mine:
        path.write_text("the user's")
        os.utime(path, (0, 0))
    for i in range(5):
        compiled_store.write("code", f"key {i}", b"content")
        found = [p for p in where.glob("*.code") if p not in mine]
        for path in found:  # all are older than the next
            os.utime(path, (path.stat().st_mtime - 10,) * 2)
    assert [compiled_store.read("code", f"key {i}") is not None for i in range(5)] == [False, False, True, True, True]
    assert compiled_store.read("other", "key") == b"content"
    assert all(path.read_text() == "the user's" for path in mine)


def test_halves_of_processes_that_were_killed_go_when_they_are_old(where):
    where.mkdir(mode=0o700)
    old, new = where / ".ranef-old.partial", where / ".ranef-new.partial"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * compiled_store.STALE,) * 2)
    compiled_store.write("code", "key", b"content")
    assert not old.exists()
    assert new.exists()


def test_processes_that_write_at_once_and_are_killed_leave_whole_files(where):
    content = bytes(range(256)) * 1000
    script = textwrap.dedent("""
        from _ranef.support import compiled_store
        while True:
            compiled_store.write("code", "key", bytes(range(256)) * 1000)
    """)
    env = os.environ | {"PYTHONPATH": str(SOURCES)}
    writers = [subprocess.Popen([sys.executable, "-c", script], env=env) for _ in range(2)]
    while compiled_store.read("code", "key") is None:
        time.sleep(0.01)
    for writer in writers:
        assert all(compiled_store.read("code", "key") == content for _ in range(50))
        writer.kill()
        writer.wait()
    assert compiled_store.read("code", "key") == content


def test_a_folder_that_is_only_read_is_read(where):
    compiled_store.write("code", "key", b"content")
    where.chmod(0o500)
    script = textwrap.dedent("""
        from _ranef.support import compiled_store
        compiled_store.write("code", "another", b"content")
        print(compiled_store.read("code", "key"), compiled_store.read("code", "another"))
    """)
    command = without_privileges(sys.executable, "-c", script)
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(SOURCES)}, capture_output=True, text=True)
    where.chmod(0o700)
    assert done.stdout == "b'content' None\n", done.stderr
    assert done.stderr.count("cannot be kept") == 1
