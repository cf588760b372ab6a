//! The socket file: made, guarded against a second daemon, removed.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A listening socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a file somebody else put there since is left alone.
    identity: (u64, u64),
}

/// Listens at `path`, making its directory when it is missing. The file may be opened by everybody (mode 0666): who may
/// change something is decided by peer credentials.
///
/// # Errors
///
/// When another daemon answers there, something else than a socket is there, or the system refuses; with the remedy.
pub fn listen(path: &Path) -> Result<(UnixListener, SocketFile), String> {
    let named = |what: &str, error: io::Error| format!("socket {}: {what}: {error}", path.display());
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(|error| named("make its directory", error))?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(named("look at it", error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(format!("socket {}: there is a file that is not a socket (remove it, or give --socket)", path.display()));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(stream) => {
                let who = rustix::net::sockopt::socket_peercred(&stream)
                    .map_or_else(|_| String::new(), |peer| format!(", process {}", peer.pid.as_raw_nonzero()));
                return Err(format!("socket {}: another daemon answers there{who} (stop it, or give --socket)", path.display()));
            }
            // Nobody listens: left behind by a daemon that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(|error| named("remove the old one", error))?
            }
            Err(error) => return Err(named("see whether another daemon answers", error)),
        },
    }
    let listener = UnixListener::bind(path).map_err(|error| named("bind", error))?;
    let metadata = fs::symlink_metadata(path).map_err(|error| named("look at it", error))?;
    let file = SocketFile { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) };
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(|error| named("set its mode", error))?;
    listener.set_nonblocking(true).map_err(|error| named("make it non-blocking", error))?;
    Ok((listener, file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("socket {}: remove it: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_with_its_directory_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/s.sock");
        let (listener, file) = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (listener, file) = listen(&path).unwrap();
        let error = listen(&path).unwrap_err();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop((listener, file));
    }

    #[test]
    fn other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(listen(&path).unwrap_err().contains("not a socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }
}
