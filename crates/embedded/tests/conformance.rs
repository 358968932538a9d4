#![allow(clippy::unwrap_used)]
//! The ports' conformance suites on the embedded adapters.

#[path = "conformance/accounts.rs"]
mod accounts;
#[path = "conformance/journal.rs"]
mod journal;
#[path = "conformance/leases.rs"]
mod leases;
#[path = "conformance/log.rs"]
mod log;
#[path = "conformance/login.rs"]
mod login;
#[path = "conformance/store.rs"]
mod store;

use std::{fs, path::Path};

/// What kill -9 leaves is what the operating system has of the files.
fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_directory(&path, &copy);
        } else {
            // A file may be replaced or removed meanwhile.
            match fs::copy(&path, &copy) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            }
        }
    }
}
