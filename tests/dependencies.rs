//! What is depended upon: the licences that `deny.toml` allows, from the registry and nowhere else.
//!
//! `cargo deny` says the same and more; this holds where it is not installed.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use spdx::{Expression, ParseMode};

fn allowed() -> Vec<String> {
    let text = include_str!("../deny.toml");
    let table: toml::Table = text.parse().expect("deny.toml is TOML");
    let licences = table["licenses"]["allow"].as_array().expect("a list of licences");
    licences.iter().map(|licence| licence.as_str().expect("a name").to_owned()).collect()
}

#[test]
fn every_dependency_has_an_allowed_licence_and_source() {
    let allowed = allowed();
    let packages = support::packages(&[]);
    let mut wrong = Vec::new();
    for package in &packages {
        let name = format!("{} {}", package["name"], package["version"]);
        let Some(licence) = package["license"].as_str() else {
            wrong.push(format!("{name} names no licence"));
            continue;
        };
        let expression = Expression::parse_mode(licence, ParseMode::LAX).expect("a licence is an SPDX expression");
        if !expression.evaluate(|requirement| allowed.contains(&requirement.to_string())) {
            wrong.push(format!("{name} is under {licence}"));
        }
        if package["source"].as_str().is_some_and(|source| !source.starts_with("registry+")) {
            wrong.push(format!("{name} is not from the registry"));
        }
    }
    assert!(packages.len() > 100, "only {} packages were seen", packages.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
