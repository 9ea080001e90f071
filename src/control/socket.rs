//! Where the socket lies, and that it does not stay behind.

use std::{
    env, fs,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::net::UnixListener;

use super::protocol::ControlError;

/// `sockaddr_un` holds 108 bytes with the final zero on Linux, 104 on macOS.
const PATH_BYTES_MAX: usize = 103;
const PREFIX: &str = "control-";

/// Sockets that this process has bound: no two have one name, so whatever has the next one's was left by a dead process.
static BOUND: AtomicU64 = AtomicU64::new(0);

/// The path for the socket `number` of process `pid`: in the log's directory if the path is short enough, else in a directory of
/// its own under `short` (`XDG_RUNTIME_DIR` or the system's temporary directory).
pub fn socket_path(log_directory: &Path, short: &Path, pid: u32, number: u64) -> PathBuf {
    let path = log_directory.join(format!("{PREFIX}{pid}-{number}.sock"));
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return path;
    }
    // A stable, collision-poor name for the directory; the log's lock keeps writers apart, not this.
    let digest = log_directory
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    short.join(format!("watershed-{digest:016x}-{pid}-{number}")).join("control.sock")
}

/// A bound socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    own_directory: bool,
    pub(super) listener: UnixListener,
    pub(super) owner_uid: u32,
}

impl ControlSocket {
    /// Binds a socket for the log in `log_directory`. Done before the writer lock is taken, so that whoever reads the path in
    /// the lock file can connect.
    pub fn bind(log_directory: &Path) -> Result<ControlSocket, ControlError> {
        let short = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
        ControlSocket::bind_at(log_directory, &short.unwrap_or_else(env::temp_dir))
    }

    fn bind_at(log_directory: &Path, short: &Path) -> Result<ControlSocket, ControlError> {
        let absolute = std::path::absolute(log_directory).map_err(ControlError::io("resolve the log's directory"))?;
        let path = socket_path(&absolute, short, std::process::id(), BOUND.fetch_add(1, Ordering::Relaxed));
        let own_directory = path.parent() != Some(&absolute);
        if let (true, Some(parent)) = (own_directory, path.parent()) {
            // A process of this id that died may have left it. Removing what another user made fails, as it should.
            match fs::remove_dir_all(parent) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ControlError::io("remove a stale socket")(error));
                }
                _ => {}
            }
            fs::DirBuilder::new()
                .mode(0o700)
                .create(parent)
                .map_err(ControlError::io("create the socket's directory"))?;
        } else {
            fs::create_dir_all(&absolute).map_err(ControlError::io("create the log's directory"))?;
            let _ = fs::remove_file(&path);
        }
        let listener = UnixListener::bind(&path).map_err(ControlError::io("bind the socket"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(ControlError::io("restrict the socket's permissions"))?;
        let owner_uid = fs::metadata(&path).map_err(ControlError::io("look at the socket"))?.uid();
        Ok(ControlSocket { path, own_directory, listener, owner_uid })
    }

    /// The socket's path: what the lock file names.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the sockets that dead processes left. To be called by the holder of the writer lock only: every other socket is
    /// then of a process that has died, or that is about to find the lock taken.
    pub fn remove_stale(&self, log_directory: &Path) {
        let Ok(entries) = fs::read_dir(log_directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|n| n.strip_prefix(PREFIX)?.split('-').next()) else { continue };
            let is_dead = !Path::new("/proc").join(pid).exists();
            if is_dead && entry.path() != self.path {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        if let (true, Some(parent)) = (self.own_directory, self.path.parent()) {
            let _ = fs::remove_dir(parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_runtime<T>(work: impl FnOnce() -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        work()
    }

    #[test]
    fn short_paths_lie_beside_the_log_and_vanish() {
        in_runtime(|| {
            let directory = tempfile::tempdir().unwrap();
            let stale = directory.path().join("control-999999999-0.sock");
            fs::write(&stale, "").unwrap();
            let socket = ControlSocket::bind_at(directory.path(), directory.path()).unwrap();
            assert_eq!(fs::metadata(socket.path()).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(socket.path().starts_with(directory.path()));
            socket.remove_stale(directory.path());
            assert!(!stale.exists() && socket.path().exists());
            drop(socket);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        });
    }

    #[test]
    fn long_paths_move_to_the_short_directory() {
        in_runtime(|| {
            let (directory, short) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let long = directory.path().join("x".repeat(120));
            for _ in 0..2 {
                let socket = ControlSocket::bind_at(&long, short.path()).unwrap();
                assert!(socket.path().starts_with(short.path()));
                let parent = fs::metadata(socket.path().parent().unwrap()).unwrap();
                assert_eq!(parent.permissions().mode() & 0o777, 0o700);
                assert_eq!(fs::metadata(socket.path()).unwrap().permissions().mode() & 0o777, 0o600);
            }
            assert_eq!(fs::read_dir(short.path()).unwrap().count(), 0);
        });
    }
}
