//! Finds data folders that an earlier test left behind.
//!
//! The checker knows only one flag of nodes: `--data-dir`, with which the nodes of this project
//! (and any others that support it) choose the folder for their records.

use std::path::{Path, PathBuf};

const FLAG: &str = "--data-dir";

/// The folders after `--data-dir` in a node's arguments that are not empty. A node begins with the
/// records in its folder, so a verdict may blame it for an earlier test.
///
/// A relative path is resolved against `dir`, the folder in which nodes run.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// std::fs::create_dir_all(folder.path().join("records/n0"))?;
/// let args = ["--data-dir", "records"].map(String::from);
/// let found = maelstrom_sim::run::left_behind(&args, folder.path());
/// assert_eq!(found, [folder.path().join("records")]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn left_behind(args: &[String], dir: &Path) -> Vec<PathBuf> {
    let next = args.iter().skip(1).map(Some).chain([None]);
    let value = |(arg, next): (&String, Option<&String>)| match arg.strip_prefix(FLAG)? {
        "" => next.map(|value| dir.join(value)),
        rest => rest.strip_prefix('=').map(|value| dir.join(value)),
    };
    args.iter().zip(next).filter_map(value).filter(|folder| is_in_use(folder)).collect()
}

fn is_in_use(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_anything_in_it_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["full/n0", "empty"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let (full, empty) = (dir.path().join("full"), dir.path().join("empty"));
        let (full_text, empty_text) = (full.to_str().unwrap(), empty.to_str().unwrap());
        for (args, found) in [
            (vec!["--data-dir", full_text], true),
            (vec!["--data-dir", "full"], true),
            (vec!["-x", "--data-dir=full", "y"], true),
            (vec!["--data-dir", empty_text], false),
            (vec!["--data-dir", "none"], false),
            (vec!["--data-dir"], false),
            (vec!["--data-dirs", "full"], false),
            (vec!["full"], false),
        ] {
            let owned: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let expected = if found { vec![full.clone()] } else { Vec::new() };
            assert_eq!(left_behind(&owned, dir.path()), expected, "{args:?}");
        }
    }
}
