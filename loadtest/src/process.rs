//! What a process costs, from /proc: CPU to the nanosecond per thread name, memory, bytes on disk.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// CPU and memory of a process at one moment.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Usage {
    /// CPU since its start, user and system, all threads that ever were. Nanoseconds.
    pub cpu_ns: u64,
    /// The same by name of thread.
    pub by_thread_ns: BTreeMap<String, u64>,
    /// User and system time from /proc/PID/stat, in whole clock ticks: a check on `cpu_ns`. Nanoseconds.
    pub ticks_ns: u64,
    /// Resident memory. Bytes.
    pub rss_bytes: u64,
    /// Of it, anonymous: what the program itself holds. Bytes.
    pub rss_anonymous_bytes: u64,
    /// The most that was ever resident. Bytes.
    pub rss_peak_bytes: u64,
}

/// Follows one process. The CPU of a thread that has ended is kept as last seen, so watch often.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    threads: HashMap<u32, (String, u64)>,
}

impl Watch {
    /// Follows `pid` from now on.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self { pid, threads: HashMap::new() }
    }

    /// Looks once.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn look(&mut self) -> Result<Usage> {
        let root = format!("/proc/{}", self.pid);
        for entry in
            std::fs::read_dir(format!("{root}/task")).with_context(|| format!("process {} is gone", self.pid))?
        {
            let entry = entry?;
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let path = entry.path();
            // A thread may end between the listing and the look.
            let (Ok(schedstat), Ok(name)) =
                (std::fs::read_to_string(path.join("schedstat")), std::fs::read_to_string(path.join("comm")))
            else {
                continue;
            };
            let cpu_ns = schedstat.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0);
            self.threads.insert(tid, (name.trim().to_owned(), cpu_ns));
        }
        let mut usage = Usage { ticks_ns: ticks_ns(&root)?, ..Usage::default() };
        for (name, cpu_ns) in self.threads.values() {
            usage.cpu_ns += cpu_ns;
            *usage.by_thread_ns.entry(name.clone()).or_default() += cpu_ns;
        }
        let status = std::fs::read_to_string(format!("{root}/status"))?;
        let bytes = |key: &str| status_bytes(&status, key);
        usage.rss_bytes = bytes("VmRSS:");
        usage.rss_anonymous_bytes = bytes("RssAnon:");
        usage.rss_peak_bytes = bytes("VmHWM:");
        Ok(usage)
    }
}

fn ticks_ns(root: &str) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("{root}/stat"))?;
    // The command's name is in brackets and may hold spaces; the fields are counted behind it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // utime and stime, at the 100 ticks a second that Linux shows to user space.
    Ok((field(11) + field(12)) * 10_000_000)
}

fn status_bytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(key));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|field| field.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Threads of the kernel's list with a name that starts with one of `prefixes`, summed. Nanoseconds.
#[must_use]
pub fn cpu_of(by_thread_ns: &BTreeMap<String, u64>, prefixes: &[String]) -> u64 {
    by_thread_ns
        .iter()
        .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())))
        .map(|(_, cpu_ns)| cpu_ns)
        .sum()
}

/// What grew between two looks, by name of thread.
#[must_use]
pub fn growth(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    after
        .iter()
        .map(|(name, cpu_ns)| (name.clone(), cpu_ns.saturating_sub(before.get(name).copied().unwrap_or(0))))
        .filter(|(_, cpu_ns)| *cpu_ns > 0)
        .collect()
}

/// Bytes of the files under `path`, by first folder or file below it.
#[must_use]
pub fn disk_bytes(path: &Path) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        *sizes.entry(name).or_default() += tree_bytes(&entry.path());
    }
    sizes
}

/// Bytes of a file, or of all files of a folder. Files that vanish meanwhile count nothing.
#[must_use]
pub fn tree_bytes(path: &Path) -> u64 {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| tree_bytes(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_cpu_shows_and_ended_threads_are_kept() {
        let mut watch = Watch::new(std::process::id());
        let before = watch.look().unwrap();
        let (tell, told) = std::sync::mpsc::sync_channel(0);
        let (go, went) = std::sync::mpsc::sync_channel::<()>(0);
        let burner = std::thread::Builder::new()
            .name("burner".into())
            .spawn(move || {
                let start = std::time::Instant::now();
                let mut x = 1u64;
                while start.elapsed().as_millis() < 30 {
                    x = std::hint::black_box(x.wrapping_mul(3));
                }
                tell.send(()).unwrap();
                went.recv().unwrap();
            })
            .unwrap();
        told.recv().unwrap();
        let during = watch.look().unwrap();
        go.send(()).unwrap();
        burner.join().unwrap();
        let after = watch.look().unwrap();
        assert!(during.by_thread_ns["burner"] > 1_000_000);
        assert!(after.by_thread_ns["burner"] >= during.by_thread_ns["burner"]);
        assert!(after.cpu_ns > before.cpu_ns && after.rss_bytes > 0 && after.rss_peak_bytes >= after.rss_bytes);
    }

    #[test]
    fn growth_is_by_thread_and_background_is_told_apart() {
        let before = BTreeMap::from([("a".to_owned(), 5), ("delivery-1".to_owned(), 7)]);
        let after = BTreeMap::from([("a".to_owned(), 9), ("delivery-1".to_owned(), 27), ("b".to_owned(), 1)]);
        let grown = growth(&before, &after);
        assert_eq!(grown, BTreeMap::from([("a".to_owned(), 4), ("b".to_owned(), 1), ("delivery-1".to_owned(), 20)]));
        assert_eq!(cpu_of(&grown, &["delivery".to_owned()]), 20);
    }
}
