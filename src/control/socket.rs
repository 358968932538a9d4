//! Unix sockets by a path of any length.
//!
//! A socket's address holds 107 bytes of path (unix(7)), and data directories can lie deeper: a longer path is reached through its
//! folder's descriptor, as `/proc/self/fd/N/control.sock`.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

const PATH_BYTES_MAX: usize = 107;

/// A path short enough for a socket's address, for as long as it lives.
struct ShortPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl ShortPath {
    fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "no folder and file name");
        let folder = File::open(path.parent().ok_or_else(invalid)?)?;
        let name = path.file_name().ok_or_else(invalid)?;
        let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path: short, _folder: Some(folder) })
    }
}

/// The file of a bound socket; removed with this value, unless another socket has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.inode) {
            // Gone already, or left for the next one to replace.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds `path` with mode 0600. It is bound under another name and moved there, so that nobody ever finds it with other
/// permissions, and the stale file of a dead daemon is replaced. The data directory's lock keeps others from doing so.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&ShortPath::new(&new)?.path)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    let metadata = fs::metadata(&new)?;
    fs::rename(&new, path)?;
    Ok((listener, SocketFile { path: path.to_owned(), inode: (metadata.dev(), metadata.ino()) }))
}

pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::new(path)?;
    UnixStream::connect(&short.path).await
}
