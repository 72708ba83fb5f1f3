//! The page that describes the life of a send names functions that exist.

use std::collections::BTreeSet;

/// All source files of the crate.
#[expect(clippy::disallowed_methods, reason = "a test reads its own sources")]
fn sources() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_function_that_the_page_names_exists() {
    let page = include_str!("../../src/life_of_a_send.md");
    let names = page.split('`').skip(1).step_by(2).filter_map(|code| code.strip_suffix("()"));
    let names: BTreeSet<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    let sources = sources();
    let is_missing = |name: &&&str| !sources.contains(&format!("fn {name}("));
    let missing: Vec<&&str> = names.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
