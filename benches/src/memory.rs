//! Memory of a process.

use std::fs;

use anyhow::Context as _;

/// Octets of memory that process `pid` has in use (resident set size). `smaps_rollup` walks the page tables; the counters in
/// `status` lag behind.
///
/// # Errors
///
/// When there is no such process.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")).with_context(|| format!("{path}: no Rss"))?;
    Ok(line.parse::<u64>().with_context(|| format!("{path}: {line}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_counts() {
        let before = resident(std::process::id()).unwrap();
        let octets = std::hint::black_box(vec![1u8; 32 << 20]);
        let after = resident(std::process::id()).unwrap();
        assert!(after - before >= 30 << 20, "{before} and then {after} with {} more", octets.len());
        assert!(resident(u32::MAX).is_err());
    }
}
