//! Where the running configuration is kept across restarts.
//!
//! One file, `config.toml`, in the state directory, replaced as a whole: written beside it, flushed to disk, renamed over
//! it, and the directory flushed. Whatever moment the machine stops at, the file is the old or the new configuration.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// Octets of a stored configuration at most: the bound of what is read at start.
pub const STORED_MAX: u64 = 16 << 20;

/// Keeps one text.
pub trait Store {
    /// The stored text, if there is one.
    ///
    /// # Errors
    ///
    /// What failed, with the name of the file.
    fn load(&mut self) -> Result<Option<String>, String>;

    /// Replaces the stored text.
    ///
    /// # Errors
    ///
    /// What failed, with the name of the file. Then the former text is still stored.
    fn save(&mut self, text: &str) -> Result<(), String>;

    /// Where, for people.
    fn place(&self) -> String;
}

/// A store in a directory, which it locks against a second daemon.
#[derive(Debug)]
pub struct FileStore {
    dir: PathBuf,
    /// Open for the lock and for `fsync`.
    handle: File,
}

impl FileStore {
    /// Name of the file in the directory.
    pub const FILE: &'static str = "config.toml";
    const TEMPORARY: &'static str = "config.toml.new";

    /// Opens the directory, making it (mode 0700) when it is missing, and locks it.
    ///
    /// # Errors
    ///
    /// When it cannot be made or opened, or another daemon has it; with the remedy.
    pub fn open(dir: &Path) -> Result<FileStore, String> {
        let named = |what: &str, error: io::Error| format!("state directory {}: {what}: {error}", dir.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| named("make it", error))?;
        let handle = File::open(dir).map_err(|error| named("open it", error))?;
        match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(FileStore { dir: dir.to_owned(), handle }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(format!("state directory {}: another vswitchd uses it (stop that one, or give --state-dir)", dir.display()))
            }
            Err(error) => Err(named("lock it", error.into())),
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let (temporary, file) = (self.dir.join(FileStore::TEMPORARY), self.dir.join(FileStore::FILE));
        let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let written = new.write_all(text.as_bytes()).and_then(|()| new.sync_all()).and_then(|()| fs::rename(&temporary, &file));
        if let Err(error) = written {
            // What is half written must not take room on a full disk; failing to remove it changes nothing.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        // From here on the new text is what a restart reads. Should this flush fail, the worst a power cut brings
        // back is the old text, and the transaction must go on: it cannot be half in force.
        if let Err(error) = self.handle.sync_all() {
            tracing::warn!("state directory {}: flush: {error}; a power cut may bring the former configuration back", self.dir.display());
        }
        Ok(())
    }
}

impl Store for FileStore {
    fn load(&mut self) -> Result<Option<String>, String> {
        let file = self.dir.join(FileStore::FILE);
        let named = |error: io::Error| format!("{}: {error}", file.display());
        match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(error)),
            Ok(metadata) if metadata.len() > STORED_MAX => return Err(format!("{}: longer than {STORED_MAX} octets", file.display())),
            Ok(_) => {}
        }
        fs::read_to_string(&file).map(Some).map_err(named)
    }

    fn save(&mut self, text: &str) -> Result<(), String> {
        self.write(text).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => " (make room there)",
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => " (make it writable, or give --state-dir)",
                _ => "",
            };
            format!("store the configuration in {}: {error}{remedy}", self.dir.display())
        })
    }

    fn place(&self) -> String {
        self.dir.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saves_replaces_and_loads() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(&dir.path().join("a/b")).unwrap();
        assert_eq!(store.load().unwrap(), None);
        store.save("one").unwrap();
        store.save("two").unwrap();
        assert_eq!(store.load().unwrap().as_deref(), Some("two"));
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_second_daemon_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = FileStore::open(dir.path()).unwrap();
        assert!(FileStore::open(dir.path()).unwrap_err().contains("another vswitchd uses it"));
        drop(first);
        FileStore::open(dir.path()).unwrap();
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_text() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(dir.path()).unwrap();
        store.save("old").unwrap();
        fs::write(dir.path().join(FileStore::TEMPORARY), "half of the n").unwrap();
        assert_eq!(store.load().unwrap().as_deref(), Some("old"));
        store.save("new").unwrap();
        assert_eq!(store.load().unwrap().as_deref(), Some("new"));
    }

    #[test]
    fn a_failed_save_keeps_the_old_text_and_names_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(dir.path()).unwrap();
        store.save("old").unwrap();
        // A directory in the way of the temporary file fails for root as well, who may write anywhere.
        fs::create_dir(dir.path().join(FileStore::TEMPORARY)).unwrap();
        let error = store.save("new").unwrap_err();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
        assert_eq!(store.load().unwrap().as_deref(), Some("old"));
    }
}
