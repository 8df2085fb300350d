"""Control groups of pods: where they can be made, what is left behind, who is moved."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sqlnode.cgroups import (
    KernelFiles,
    Limits,
    PodGroups,
    Unusable,
    delegate,
    own_group,
)
from tests.sqlnode.fake_cgroups import FakeCgroups

OWN = Path("/cg/service")
BOTH = frozenset({"cpu", "memory"})
LIMITS = Limits(0.5, 64 << 20)
ME = os.getpid()
DEAD = 2**22 + 7


@pytest.mark.parametrize(
    ("cgroup", "root", "point", "found"),
    [
        ("0::/", "/", "/sys/fs/cgroup", "/sys/fs/cgroup"),
        ("9:cpu:/x\n0::/a/b.scope", "/", "/sys/fs/cgroup", "/sys/fs/cgroup/a/b.scope"),
        ("0::/docker/1/x", "/docker/1", "/sys/fs/cgroup", "/sys/fs/cgroup/x"),
        ("0::/docker/1", "/docker/1", "/sys/fs/cgroup", "/sys/fs/cgroup"),
        ("0::/a", "/", r"/mnt/my\040groups", "/mnt/my groups/a"),
    ],
)
def test_the_own_group_is_found(cgroup: str, root: str, point: str, found: str) -> None:
    mounts = (
        "22 28 0:21 / /proc rw,nosuid - proc proc rw\n"
        f"30 23 0:26 {root} {point} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
    )
    assert own_group(f"{cgroup}\n", mounts) == Path(found)


@pytest.mark.parametrize(
    ("cgroup", "mounts", "why"),
    [
        ("4:memory:/x\n", "", "version 2"),
        ("0::/a\n", "30 23 0:26 / /sys rw - cgroup cgroup rw,cpu\n", "not mounted"),
        ("0::/../a\n", "30 23 0:26 / /sys rw - cgroup2 cgroup2 rw\n", "not mounted"),
        ("0::/abc\n", "30 23 0:26 /ab /sys rw - cgroup2 cgroup2 rw\n", "not mounted"),
    ],
)
def test_no_own_group_is_said(cgroup: str, mounts: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        own_group(cgroup, mounts)


@pytest.mark.parametrize(
    ("limits", "settings"),
    [
        (Limits(), {}),
        (Limits(cpu_cores=1.25), {"cpu.max": "125000 100000"}),
        (Limits(memory_bytes=1 << 30), {"memory.max": "1073741824"}),
        (LIMITS, {"cpu.max": "50000 100000", "memory.max": "67108864"}),
    ],
)
def test_limits_are_written_as_the_kernel_reads_them(
    limits: Limits, settings: dict[str, str]
) -> None:
    assert limits.settings() == settings
    assert limits.controllers() == {name.split(".")[0] for name in settings}


def test_the_supervisor_moves_aside_and_pods_get_the_controllers() -> None:
    files = FakeCgroups(OWN, "cpu", "memory", "pids", procs=(ME,))
    pods = delegate(files, OWN, BOTH, ME)
    assert pods == OWN / f"dormouse-{ME}" / "pods"
    assert files.where(ME) == OWN / f"dormouse-{ME}" / "roles"
    groups = PodGroups(files, pods, LIMITS, ME)
    group = groups.open()
    assert group is not None
    assert files.read(group / "cpu.max") == "50000 100000"
    assert files.read(group / "memory.max") == str(64 << 20)
    groups.enter(group)
    assert files.where(ME) == group


def test_only_the_wanted_controllers_are_handed_on() -> None:
    files = FakeCgroups(OWN, "cpu", procs=(ME,))
    pods = delegate(files, OWN, frozenset({"cpu"}), ME)
    assert PodGroups(files, pods, Limits(cpu_cores=1), ME).open() is not None
    assert PodGroups(files, pods, LIMITS, ME).open() is None, "memory was not asked for"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (FakeCgroups(OWN, "cpu", procs=(ME,)), "no controller for memory"),
        (FakeCgroups(OWN, procs=(ME,)), "no controller for cpu and memory"),
        (FakeCgroups(OWN, "cpu", "memory", procs=(ME, 1)), "other processes.*systemd-run"),
        (FakeCgroups(OWN.parent, "cpu", "memory"), "no such group"),
    ],
)
def test_where_no_group_can_be_made_all_stays_as_it_was(files: FakeCgroups, why: str) -> None:
    before = {path: set(group.procs) for path, group in files.groups.items()}
    with pytest.raises(Unusable, match=why):
        delegate(files, OWN, BOTH, ME)
    assert {path: group.procs for path, group in files.groups.items()} == before


def test_a_refusal_half_way_is_undone() -> None:
    files = FakeCgroups(OWN, "cpu", "memory", procs=(ME,))
    files.refused.add(OWN / "cgroup.subtree_control")
    with pytest.raises(Unusable, match="not allowed"):
        delegate(files, OWN, BOTH, ME)
    assert list(files.groups) == [OWN]
    assert files.where(ME) == OWN


def test_the_root_may_hold_processes_and_hand_on() -> None:
    files = FakeCgroups(OWN, "cpu", "memory", is_root=True, procs=(ME, 1))
    delegate(files, OWN, BOTH, ME)
    assert files.where(1) == OWN


def test_what_a_dead_installation_left_is_removed() -> None:
    files = FakeCgroups(OWN, "cpu", "memory", procs=(DEAD,))
    left = delegate(files, OWN, BOTH, DEAD)
    assert PodGroups(files, left, LIMITS, DEAD).open() is not None
    files.groups[OWN / f"dormouse-{DEAD}" / "roles"].procs.clear()
    files.groups[OWN].procs.add(ME)
    delegate(files, OWN, BOTH, ME)
    assert files.children(OWN) == [f"dormouse-{ME}"]


def _groups(is_alive: bool = True) -> tuple[FakeCgroups, PodGroups]:
    files = FakeCgroups(OWN, "cpu", "memory", procs=(ME,))
    pods = delegate(files, OWN, BOTH, ME)
    return files, PodGroups(files, pods, LIMITS, 50, lambda _pid: is_alive)


def test_groups_end_with_their_pods() -> None:
    files, groups = _groups()
    first, second = groups.open(), groups.open()
    assert first is not None
    assert second is not None
    files.groups[first].procs.add(7)  # a child of the pod lives on for a moment
    groups.close(first)
    assert first in files.groups
    files.groups[first].procs.clear()
    groups.close(second)
    assert first not in files.groups
    assert second not in files.groups


@pytest.mark.parametrize("is_alive", [True, False])
def test_a_sweep_spares_living_hosts_and_living_pods(is_alive: bool) -> None:
    files, groups = _groups(is_alive)
    root = OWN / f"dormouse-{ME}" / "pods"
    for name in ("50-1", "60-1", "60-2", "notes"):
        files.make(root / name)
    files.groups[root / "60-2"].procs.add(7)
    groups.sweep()
    kept = {"60-2", "notes"} | ({"60-1"} if is_alive else set())
    assert set(files.children(root)) == kept


def test_a_pod_that_cannot_be_limited_lives_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    files, groups = _groups()
    group = groups.open()
    assert group is not None
    files.refused.add(OWN)
    groups.enter(group)
    assert groups.open() is None
    assert [record.message for record in caplog.records] == ["a pod is not limited"] * 2


_REAL = """
    import os, subprocess, sys
    from pathlib import Path
    from sqlnode.cgroups import KernelFiles, Limits, PodGroups, delegate
    files, own = KernelFiles(), Path(sys.argv[1])
    files.write(own / "cgroup.procs", str(os.getpid()))
    pods = delegate(files, own, frozenset({"cpu", "memory"}), os.getpid())
    groups = PodGroups(files, pods, Limits(0.5, 64 << 20), os.getpid())
    group = groups.open()
    print((group / "cpu.max").read_text().strip(), (group / "memory.max").read_text().strip())
    hog = "import sys; sys.stdin.read(1); held = bytearray(256 << 20); print('survived')"
    child = subprocess.Popen([sys.executable, "-c", hog], stdin=subprocess.PIPE)
    files.write(group / "cgroup.procs", str(child.pid))
    child.communicate(b"g")
    print(child.returncode)
    groups.close(group)
    print(group.exists())
"""


def test_the_kernel_agrees() -> None:
    files = KernelFiles()
    try:
        cgroup = Path("/proc/self/cgroup").read_text()
        parent = own_group(cgroup, Path("/proc/self/mountinfo").read_text())
        missing = {"cpu", "memory"} - set(files.read(parent / "cgroup.subtree_control").split())
        if missing:
            pytest.skip(f"{parent} hands on no {' and '.join(sorted(missing))} controller")
        own = parent / f"dormouse-test-{ME}"
        files.make(own)
    except (Unusable, OSError) as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        answer = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(_REAL), str(own)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        lines = answer.stdout.splitlines()
        assert lines == ["50000 100000 67108864", "-9", "False"], answer.stderr
    finally:
        for folder in sorted(own.rglob("*/"), reverse=True):
            if folder.is_dir():
                folder.rmdir()
        own.rmdir()
