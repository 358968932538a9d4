//! Small files and directories: private to the user, replaced whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

const DIRECTORY_MODE: u32 = 0o700;
pub(crate) const FILE_MODE: u32 = 0o600;

/// Makes `directory` and its parents, mode 0700; one that exists is left as it is. A new one's name is safe from a power cut.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    let exists = directory.is_dir();
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    match directory.parent() {
        // A relative path of one level lies in the current directory.
        Some(parent) if !exists && parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) if !exists => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Options for a file of ours: readable and writable, mode 0600.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

/// Replaces the file by `content` in one step: a crash leaves the old or the new one. With `sync`, a power cut does too, and what
/// this returned from stays.
pub(crate) fn replace(path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = private_file().create(true).truncate(true).open(&temporary)?;
    file.write_all(content)?;
    if sync {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    if sync && let Some(directory) = path.parent() {
        sync_directory(directory)?;
    }
    Ok(())
}

/// Makes the names of new and removed files in `directory` safe from a power cut.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Random bits of the operating system.
pub(crate) fn random_u64() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    debug_assert_eq!(filled, bytes.len(), "getrandom fills up to 256 bytes whole (getrandom(2))");
    Ok(u64::from_le_bytes(bytes))
}

/// A random name of `[0-9a-z]`, 13 characters (64 bits).
pub(crate) fn random_name() -> io::Result<String> {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut rest = random_u64()?;
    let mut name = String::with_capacity(13);
    for _ in 0..13 {
        name.push(char::from(DIGITS[(rest % 36) as usize]));
        rest /= 36;
    }
    Ok(name)
}
