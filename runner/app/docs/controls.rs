//! The controls page names tests: each is one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::root;

/// The functions in a file or below a folder.
fn functions(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("it can be read") {
            functions(&entry.expect("an entry").path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let text = fs::read_to_string(path).expect("it is text");
        let names = text.split("#[test]").skip(1).filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
        found.extend(names.map(|(name, _)| name.to_owned()));
    }
}

#[test]
fn every_test_that_the_controls_page_names_is_one() {
    let page = fs::read_to_string(root().join("docs/controls.md")).expect("the page is there");
    let named: Vec<_> = page.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    assert!(named.len() > 40, "{} tests are named", named.len());
    for (place, test) in named.into_iter().filter(|(place, _)| *place != "file") {
        let mut found = BTreeSet::new();
        let folders = match place.strip_prefix("runner/") {
            Some(room) => vec![root().join("runner").join(room)],
            None => vec![root().join(format!("tests/{place}.rs")), root().join("tests").join(place)],
        };
        folders.iter().filter(|folder| folder.exists()).for_each(|folder| functions(folder, &mut found));
        assert!(found.contains(test), "there is no test `{test}` in `{place}`");
    }
}
