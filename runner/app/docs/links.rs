use super::markdown::{anchors, links};
use super::{pages, root};

/// Links within the repository lead to what is there, at the heading that they name.
#[test]
fn no_link_is_dead() {
    let mut dead = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let folder = root().join(&page.path);
        let folder = folder.parent().expect("a page is in a folder");
        for (line, link) in links(&page.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let to = if path.is_empty() { root().join(&page.path) } else { folder.join(path) };
            let leads = to.exists()
                && (anchor.is_empty()
                    || std::fs::read_to_string(&to).is_ok_and(|text| anchors(&text).iter().any(|name| name == anchor)));
            if !leads {
                dead.push(format!("{}:{line}: `{link}`", page.path.display()));
            }
        }
    }
    assert!(seen > 20, "only {seen} links were found");
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// Every page in `docs/` can be reached from its index, and the index from the README.
#[test]
fn every_page_is_in_the_index() {
    let pages = pages();
    let text = |path: &str| {
        let page = pages.iter().find(|page| page.path.as_os_str() == path);
        page.map(|page| page.text.as_str()).unwrap_or_else(|| panic!("there is no `{path}`"))
    };
    let index: Vec<_> = links(text("docs/README.md")).into_iter().map(|(_, link)| link).collect();
    for page in &pages {
        if let Ok(path) = page.path.strip_prefix("docs") {
            let path = path.to_str().expect("UTF-8");
            let linked = path == "README.md" || index.iter().any(|link| link.split('#').next() == Some(path));
            assert!(linked, "`docs/{path}` is not in `docs/README.md`");
        }
    }
    assert!(links(text("README.md")).iter().any(|(_, link)| link == "docs/README.md" || link == "docs"));
}
