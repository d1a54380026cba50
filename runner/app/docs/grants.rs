use countersign_model::{Grant, Selector};

use super::markdown::{blocks, rows};
use super::root;
use crate::environment::registry;

fn page() -> String {
    std::fs::read_to_string(root().join("docs/grants.md")).expect("there is a page on grants")
}

fn grant(text: &str) -> Result<Grant, String> {
    let grant: Grant = text.parse().map_err(|error: countersign_model::GrantError| error.to_string())?;
    let registry = registry();
    let known = registry.get(&grant.capability).map_err(|fault| fault.what)?;
    known.normalize(&grant).map_err(|fault| fault.what)
}

/// Every grant on the page is one, and is printed as it stands there.
#[test]
fn every_grant_is_one() {
    let mut seen = 0;
    for block in blocks(&page()).iter().filter(|block| block.language == "grants") {
        for line in &block.lines {
            let text = line.split("   ").next().unwrap_or_default().trim_end();
            assert_eq!(grant(text).map(|grant| grant.to_string()), Ok(text.to_owned()));
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} grants were found");
}

#[test]
fn what_is_said_to_be_no_grant_is_none() {
    let rows = rows(&page(), &["no grant", "because"]);
    for row in &rows {
        let why = grant(&row[0]).expect_err(&row[0]);
        assert!(why.contains(&row[1]), "`{}` is refused because {why}", row[0]);
    }
    assert!(rows.len() > 8, "only {} were found", rows.len());
}

#[test]
fn what_is_said_to_be_contained_is() {
    let rows = rows(&page(), &["this grant", "contains this one"]);
    let not = super::markdown::rows(&page(), &["this grant", "does not contain this one", "because"]);
    assert!(rows.len() > 4 && not.len() > 8, "only {} and {} were found", rows.len(), not.len());
    for (row, expected) in rows.iter().map(|row| (row, true)).chain(not.iter().map(|row| (row, false))) {
        let (wide, narrow) = (grant(&row[0]).expect(&row[0]), grant(&row[1]).expect(&row[1]));
        let registry = registry();
        let known = registry.get(&wide.capability).expect("it parsed");
        let contained = wide.capability == narrow.capability
            && wide.limits.contains(&narrow.limits)
            && known.contains(&wide, &narrow).expect("they parse");
        assert_eq!(contained, expected, "{wide} / {narrow}");
    }
}

#[test]
fn what_is_said_to_be_denied_is() {
    let allowed = rows(&page(), &["this grant", "allows"]);
    let denied = rows(&page(), &["this grant", "does not allow", "because"]);
    assert!(allowed.len() > 4 && denied.len() > 8, "only {} and {} were found", allowed.len(), denied.len());
    for (row, expected) in allowed.iter().map(|row| (row, true)).chain(denied.iter().map(|row| (row, false))) {
        let granted = grant(&row[0]).expect(&row[0]);
        let (capability, function, selector) = Selector::parse_named(&row[1]).expect(&row[1]);
        assert_eq!(capability, granted.capability, "{row:?}");
        let registry = registry();
        let known = registry.get(&capability).expect("it parsed");
        // A call that cannot be made is denied too.
        let covered = known.parse_call(&function, &selector).and_then(|call| known.decode(&call)).is_ok_and(|call| {
            let scopes = known.scopes(std::slice::from_ref(&granted)).expect("it parsed");
            scopes.covering(call.as_ref(), 0).is_some()
        });
        assert_eq!(covered, expected, "{granted} / {}", row[1]);
    }
}
