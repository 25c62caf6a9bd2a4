//! What memory a process can have here: the least of its control groups' limits and of the machine's memory.
//!
//! Files of `/proc` and of `/sys/fs/cgroup` come in, as [`super::Outside`] reads them; a limit comes out, with
//! the file that tells it. What is missing or reads otherwise limits nothing: it is never an error.

use std::path::{Path, PathBuf};

/// Of control groups v2 ("memory.max", Linux's `admin-guide/cgroup-v2.rst`) and v1 (`cgroup-v1/memory.rst`).
const HIERARCHIES: [Hierarchy; 2] = [
    Hierarchy { mount: "/sys/fs/cgroup", file: "memory.max", controller: "" },
    Hierarchy {
        mount: "/sys/fs/cgroup/memory",
        file: "memory.limit_in_bytes",
        controller: "memory",
    },
];
const MEMORY_OF_THE_MACHINE: &str = "/proc/meminfo";

struct Hierarchy {
    mount: &'static str,
    file: &'static str,
    /// As a line of `/proc/self/cgroup` names it.
    controller: &'static str,
}

/// The kernel ends a process that takes more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    pub(super) bytes: u64,
    pub(super) told_by: PathBuf,
}

type Read<'a> = &'a dyn Fn(&Path) -> std::io::Result<String>;

/// The limit that is met first.
pub(super) fn memory_limit(read: Read<'_>) -> Option<MemoryLimit> {
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let of_groups = HIERARCHIES.iter().flat_map(|hierarchy| files(hierarchy, &groups));
    let of_groups = of_groups.filter_map(|file| {
        let bytes = read(&file).ok()?.trim().parse().ok()?;
        Some(MemoryLimit { bytes, told_by: file })
    });
    of_groups.chain(of_the_machine(read)).min_by_key(|limit| limit.bytes)
}

/// A group is limited by those around it too. In a container the path may be that of its host, where nothing is
/// mounted: then the mount itself is the container's group.
fn files<'a>(hierarchy: &'a Hierarchy, groups: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let own = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let is_it = controllers.split(',').any(|name| name == hierarchy.controller);
        is_it.then_some(Path::new(path))
    });
    let around = own.flat_map(Path::ancestors).map(|path| path.strip_prefix("/").unwrap_or(path));
    around.map(|path| Path::new(hierarchy.mount).join(path).join(hierarchy.file))
}

/// `MemTotal:       24590352 kB` (`proc_meminfo(5)`).
fn of_the_machine(read: Read<'_>) -> Option<MemoryLimit> {
    let told = read(Path::new(MEMORY_OF_THE_MACHINE)).ok()?;
    let total = told.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(MemoryLimit { bytes: kib.checked_mul(1024)?, told_by: MEMORY_OF_THE_MACHINE.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal:        4096 kB\nMemFree: 1 kB\n");

    /// In KiB, with the file that tells it.
    fn limit(files: &[(&str, &str)]) -> Option<(u64, String)> {
        let read = |path: &Path| {
            let text = files.iter().find(|(name, _)| Path::new(name) == path);
            text.map(|(_, text)| (*text).to_owned()).ok_or(std::io::ErrorKind::NotFound.into())
        };
        let limit = memory_limit(&read)?;
        Some((limit.bytes / 1024, limit.told_by.display().to_string()))
    }

    #[test]
    fn the_least_of_all_groups_around_the_process_counts() {
        let told = [
            MEMINFO,
            ("/proc/self/cgroup", "0::/kubepods/pod7/app\n"),
            ("/sys/fs/cgroup/kubepods/memory.max", "3145728\n"),
            ("/sys/fs/cgroup/kubepods/pod7/memory.max", "1048576\n"),
            ("/sys/fs/cgroup/kubepods/pod7/app/memory.max", "max\n"),
        ];
        let pod = "/sys/fs/cgroup/kubepods/pod7/memory.max".to_owned();
        assert_eq!(limit(&told), Some((1024, pod)));
    }

    #[test]
    fn a_container_of_version_one_sees_its_own_limit_at_the_mount() {
        let told = [
            MEMINFO,
            ("/proc/self/cgroup", "5:cpu,cpuacct:/docker/4f\n4:memory:/docker/4f\n0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2097152\n"),
        ];
        let mount = "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned();
        assert_eq!(limit(&told), Some((2048, mount)));
    }

    #[test]
    fn without_a_limit_the_machine_has_no_more_than_it_has() {
        let machine = Some((4096, "/proc/meminfo".to_owned()));
        let free = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit(&[MEMINFO, ("/proc/self/cgroup", "4:memory:/\n"), free]), machine);
        assert_eq!(limit(&[MEMINFO]), machine);
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        assert_eq!(limit(&[]), None);
        assert_eq!(
            limit(&[("/proc/meminfo", "MemTotal: much\n"), ("/proc/self/cgroup", "x")]),
            None
        );
    }
}
