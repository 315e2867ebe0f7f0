"""What a node has to offer."""

from __future__ import annotations

from shoal.node.supply import gpus, memory


def kernel(folder, group="", limits=()):
    """What a kernel would tell, in files."""
    proc, groups = folder / "proc", folder / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:       16000 kB\nMemFree:  1 kB\n")
    (proc / "self/cgroup").write_text(group)
    for path, text in limits:
        (groups / path).parent.mkdir(parents=True, exist_ok=True)
        (groups / path).write_text(text)
    return proc, groups


def test_without_a_limit_it_is_the_hosts_memory(tmp_path):
    """Also where groups say "max", or a number larger than the host."""
    limits = [("a/b/memory.max", "max\n"), ("a/memory.max", f"{2**60}\n")]
    assert memory(*kernel(tmp_path, "0::/a/b\n", limits)) == 16000 * 1024


def test_the_smallest_limit_of_the_groups_above_counts(tmp_path):
    """A group is bound by those that hold it."""
    limits = [("a/b/memory.max", "9000000\n"), ("a/memory.max", "8000000\n")]
    assert memory(*kernel(tmp_path, "0::/a/b\n", limits)) == 8_000_000


def test_the_older_kind_of_groups_is_known(tmp_path):
    """They have a tree for each resource."""
    limits = [("memory/x/memory.limit_in_bytes", "7000000\n")]
    assert memory(*kernel(tmp_path, "3:cpu,cpuacct:/x\n4:memory:/x\n", limits)) == 7_000_000


def test_where_the_kernel_tells_nothing_it_is_unknown(tmp_path):
    """0 stands for that."""
    assert memory(tmp_path / "no", tmp_path / "no") == 0


def test_accelerators_are_counted(tmp_path):
    """Devices with a number are accelerators, others belong to the driver."""
    for name in ("nvidia0", "nvidia1", "nvidia12", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert gpus(str(tmp_path)) == 3
    assert gpus(str(tmp_path / "no")) == 0
