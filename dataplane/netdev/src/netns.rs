//! Work in another network namespace.
//!
//! A descriptor (socket, TAP queue) belongs for ever to the namespace in which it was opened, so only opening has to happen
//! there. The namespace of a thread can be changed, so a short-lived thread enters, opens and ends; no other thread of the
//! process notices.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::Error;

/// A network namespace by name. It is looked up each time it is entered, so one that was deleted and made anew is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Netns(String);

/// A network namespace itself, whatever its name; see namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetnsId {
    device: u64,
    inode: u64,
}

impl Netns {
    /// The namespace with this name under `/run/netns` or `/var/run/netns` (as `ip netns` makes them), or at this absolute
    /// path (such as `/proc/PID/ns/net`). Whether it exists is found out when it is entered.
    ///
    /// # Errors
    ///
    /// [`Error::Netns`] when the text is neither.
    pub fn named(name: &str) -> Result<Netns, Error> {
        let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
        if plain || (name.starts_with('/') && !name.contains('\0')) {
            return Ok(Netns(name.into()));
        }
        Err(Error::Netns {
            name: name.into(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "not a name of a network namespace"),
            remedy: "give a name under /run/netns, or an absolute path".into(),
        })
    }

    /// The name, as given.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Which namespace the name stands for now. A namespace that was deleted lives on, without its name, as long as a
    /// descriptor belongs to it, as those of our own ports do; that the name stands for another one, or for none, tells so.
    ///
    /// # Errors
    ///
    /// [`Error::Netns`] when there is none.
    pub fn identity(&self) -> Result<NetnsId, Error> {
        let path = self.path();
        let failed = |source| Error::Netns { name: self.0.clone(), source, remedy: String::new() };
        let facts = std::fs::metadata(&path).map_err(failed)?;
        Ok(NetnsId { device: facts.dev(), inode: facts.ino() })
    }

    fn path(&self) -> PathBuf {
        if self.0.starts_with('/') {
            return PathBuf::from(&self.0);
        }
        let path = Path::new("/run/netns").join(&self.0);
        if path.exists() { path } else { Path::new("/var/run/netns").join(&self.0) }
    }

    fn enter(&self) -> Result<(), Error> {
        let path = self.path();
        let failed = |errno: rustix::io::Errno, remedy: String| Error::Netns { name: self.0.clone(), source: errno.into(), remedy };
        let fd = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
            let remedy = match errno {
                rustix::io::Errno::NOENT if !self.0.starts_with('/') => format!("make it with: ip netns add {}", self.0),
                rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => format!("cannot read {}", path.display()),
                _ => String::new(),
            };
            failed(errno, remedy)
        })?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&fd), Some(LinkNameSpaceType::Network)).map_err(|errno| {
            let remedy = match errno {
                rustix::io::Errno::PERM => "needs CAP_SYS_ADMIN".into(),
                rustix::io::Errno::INVAL => format!("{} is not a network namespace", path.display()),
                _ => String::new(),
            };
            failed(errno, remedy)
        })
    }
}

/// Runs `work` in `netns`, on a thread of its own; on the calling thread and in its namespace when there is none.
///
/// # Errors
///
/// [`Error::Netns`] when the namespace cannot be entered; `work` did not run then.
///
/// # Panics
///
/// If `work` panics.
pub fn run_in<T: Send>(netns: &Option<Netns>, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let Some(netns) = netns else { return Ok(work()) };
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, || netns.enter().map(|()| work()))
            .map_err(|source| Error::Netns { name: netns.0.clone(), source, remedy: "cannot start a thread to enter it".into() })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The name of a namespace for messages.
pub(crate) fn name_of(netns: &Option<Netns>) -> Option<String> {
    netns.as_ref().map(|n| n.0.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_absolute_paths_are_taken() {
        for name in ["blue", "a.b", "/proc/1/ns/net"] {
            assert_eq!(Netns::named(name).unwrap().name(), name);
        }
        for name in ["", ".", "..", "a/b", "../x", "a\0b", "/a\0b"] {
            assert!(Netns::named(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_missing_namespace_is_named_with_its_remedy() {
        let netns = Netns::named("no-such-namespace-here").unwrap();
        let error = run_in(&Some(netns), || unreachable!("work must not run outside its namespace")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "network namespace \"no-such-namespace-here\": No such file or directory (make it with: ip netns add no-such-namespace-here)"
        );
    }

    #[test]
    fn a_file_that_is_no_namespace_is_refused() {
        let error = run_in(&Some(Netns::named("/dev/null").unwrap()), || unreachable!()).unwrap_err();
        assert!(error.to_string().starts_with("network namespace \"/dev/null\": "), "{error}");
    }

    #[test]
    fn a_namespace_is_itself_under_each_of_its_names() {
        let of = |path: &str| Netns::named(path).unwrap().identity();
        let own = of("/proc/self/ns/net").unwrap();
        assert_eq!(of(&format!("/proc/{}/ns/net", std::process::id())).unwrap(), own);
        assert_ne!(of("/proc/self/ns/mnt").unwrap(), own);
        assert!(of("no-such-namespace-here").is_err());
    }

    #[test]
    fn without_a_namespace_the_calling_thread_works() {
        let caller = thread::current().id();
        assert_eq!(run_in(&None, || thread::current().id()).unwrap(), caller);
    }
}
