import pytest

from cache_protocol.errors import CapacityError
from replica_agent.arenas.room import check_room, memory_limit


@pytest.fixture
def host(tmp_path):
    """A host as the kernel shows it: 8 GiB available, no group with a limit."""

    def write(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("proc/meminfo", "MemTotal: 1 kB\nMemAvailable:    8388608 kB\n")
    write("proc/self/cgroup", "0::/pod/app\n")
    return tmp_path, write


def test_without_a_limit_what_is_available_counts(host):
    assert memory_limit(host[0]) == 8 * 2**30


def test_the_limit_of_a_cgroup_counts(host):
    root, write = host
    write("sys/fs/cgroup/pod/app/memory.max", "1073741824\n")
    assert memory_limit(root) == 2**30


def test_the_tightest_limit_of_all_groups_above_counts(host):
    root, write = host
    write("sys/fs/cgroup/pod/app/memory.max", "max\n")
    write("sys/fs/cgroup/pod/memory.max", "2048\n")
    write("sys/fs/cgroup/memory.max", "4096\n")
    assert memory_limit(root) == 2048


def test_a_container_that_sees_its_own_group_as_the_root_is_held_to_it(host):
    root, write = host
    write("sys/fs/cgroup/memory.max", "4096\n")
    assert memory_limit(root) == 4096


def test_the_first_version_of_cgroups_counts_as_well(host):
    root, write = host
    write("proc/self/cgroup", "9:cpu,memory:/app\n1:name=systemd:/x\n")
    write("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "512\n")
    assert memory_limit(root) == 512


def test_the_huge_number_that_means_no_limit_is_none(host):
    root, write = host
    write("proc/self/cgroup", "9:memory:/\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert memory_limit(root) == 8 * 2**30


def test_the_operators_word_replaces_what_the_host_says(host):
    check_room(2**40, limit=2**40, root=host[0])


def test_what_engines_hold_counts_towards_a_limit_and_is_missing_from_what_is_available(host):
    root, write = host
    assert memory_limit(root, held=2**30) == 8 * 2**30
    write("sys/fs/cgroup/memory.max", f"{2**31}\n")
    assert memory_limit(root, held=2**30) == 2**30
    with pytest.raises(CapacityError, match=f"{2**30} bytes .* allowed here beside 1 "):
        check_room(2**30 + 1, limit=2**30 + 1, root=root, held=1)


def test_too_little_room_is_refused_with_the_numbers(host):
    with pytest.raises(CapacityError, match=r"9000000000.*8589934592"):
        check_room(9_000_000_000, limit=None, root=host[0])
