//! Reads the key from a file that only its owner can read.

#![expect(clippy::disallowed_methods, reason = "the driver reads the key before the node starts")]

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{ClusterKey, KEY_BYTES_MIN};

/// The largest size of a key, in bytes.
pub const KEY_BYTES_MAX: usize = 4096;

/// The reason why a file holds no usable key. No variant contains any of the file's content.
///
/// ```
/// use maelstrom_core::auth::{ClusterKey, KeyFileError};
///
/// let error = ClusterKey::read("no/such/cluster.key".as_ref()).unwrap_err();
/// assert!(matches!(error, KeyFileError::Unreadable { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file does not exist, or it cannot be read.
    #[error("{path}: the key of the cluster cannot be read: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Users other than the owner can read the file.
    #[error(
        "{path}: its mode {mode:o} lets others read the key of the cluster: run chmod 600 on it",
        path = path.display()
    )]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is empty, except for a line break perhaps.
    #[error(
        "{path}: the file is empty: write a random key of at least {KEY_BYTES_MIN} bytes into it",
        path = path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The key is too short to be secure.
    #[error(
        "{path}: a key of {bytes} bytes is too short: \
         it needs at least {KEY_BYTES_MIN} random bytes",
        path = path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Size of the key, without the line break at its end.
        bytes: usize,
    },
    /// The file is too large to be a key file.
    #[error("{path}: a key has at most {KEY_BYTES_MAX} bytes", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

impl ClusterKey {
    /// Reads the key from a file. The key is the whole content, without the line break at its end.
    ///
    /// On Unix, the file must not be readable by its group or by others. On other systems, this
    /// does not check permissions.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, if other users can read it, or if it holds fewer than
    /// [`KEY_BYTES_MIN`] bytes or more than [`KEY_BYTES_MAX`].
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let (file, path) = (File::open(path), path.to_owned());
        let unreadable = |source| KeyFileError::Unreadable { path: path.clone(), source };
        let file = file.map_err(unreadable)?;
        let mode = mode(&file).map_err(unreadable)?;
        if mode & 0o044 != 0 {
            return Err(KeyFileError::OpenToOthers { path, mode });
        }
        let mut bytes = Vec::new();
        // Room for a line break, and for one byte that makes the key too long.
        let limit = (KEY_BYTES_MAX as u64).saturating_add(3);
        file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
        let key = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let key = key.strip_suffix(b"\r").unwrap_or(key);
        match key.len() {
            0 => Err(KeyFileError::Empty { path }),
            bytes if bytes > KEY_BYTES_MAX => Err(KeyFileError::TooLong { path }),
            bytes => Self::new(key).map_err(|_| KeyFileError::TooShort { path, bytes }),
        }
    }
}

/// The permissions of an open file.
#[cfg(unix)]
fn mode(file: &File) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o7777)
}

/// Permissions are not checked on this system.
#[cfg(not(unix))]
fn mode(_: &File) -> io::Result<u32> {
    Ok(0)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(content: &[u8], mode: u32) -> Result<ClusterKey, KeyFileError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        ClusterKey::read(&path)
    }

    fn refusal(content: &[u8], mode: u32) -> String {
        let error = read(content, mode).map(drop).unwrap_err().to_string();
        let (_, why) = error.split_once("cluster.key: ").unwrap();
        assert!(!why.contains("secret"), "{why}");
        why.to_owned()
    }

    #[test]
    fn a_key_has_sixteen_bytes_at_least_without_its_line_break() {
        for good in [&b"a secret of 16 B"[..], b"a secret of 16 B\n", b"a secret of 16 B\r\n"] {
            assert!(read(good, 0o600).is_ok());
        }
        assert!(read(b"a secret of 16 B", 0o400).is_ok());
        assert!(read(&[0xff; KEY_BYTES_MAX], 0o600).is_ok());
        for (content, why) in [
            (&b""[..], "the file is empty"),
            (b"\n", "the file is empty"),
            (b"secret of 15 By\n", "a key of 15 bytes is too short"),
            (&[b'x'; KEY_BYTES_MAX + 1], "a key has at most 4096 bytes"),
        ] {
            let refusal = refusal(content, 0o600);
            assert!(refusal.starts_with(why), "{refusal}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        for mode in [0o640, 0o604, 0o644, 0o666] {
            let refusal = refusal(b"a secret of 16 B", mode);
            assert!(
                refusal.starts_with(&format!("its mode {mode:o} lets others read")),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_file_that_is_missing_or_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        for path in [dir.path().join("nowhere"), dir.path().to_owned()] {
            let error = ClusterKey::read(&path).map(drop).unwrap_err();
            assert!(matches!(error, KeyFileError::Unreadable { .. }), "{error}");
        }
    }
}
