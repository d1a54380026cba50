use super::*;
use crate::fixture::{contains, grant, grants};

fn narrowed(narrowings: &[&str]) -> Result<RoleGrants, GrantMismatch> {
    let requested = grants(&[
        (Role::Fix, &["files.read /etc/**", "files.write /etc/** max-calls=2 max-bytes=100", "http.read /etc/**"]),
        (Role::Rollback, &["files.read /etc/nginx/**"]),
        (Role::Check, &["files.read /var/**"]),
    ]);
    let narrowings: Vec<Grant> = narrowings.iter().map(|text| grant(text)).collect();
    narrow(&requested, &narrowings, &contains)
}

#[test]
fn nothing_stays_as_requested() {
    assert_eq!(narrowed(&[]).expect("as requested").values().map(Vec::len).sum::<usize>(), 5);
}

#[test]
fn one_replaces_what_it_is_inside_of_in_every_role() {
    assert_eq!(
        narrowed(&["files.read /etc/nginx/nginx.conf"]),
        Ok(grants(&[
            (
                Role::Fix,
                &[
                    "files.read /etc/nginx/nginx.conf",
                    "files.write /etc/** max-calls=2 max-bytes=100",
                    "http.read /etc/**"
                ]
            ),
            (Role::Rollback, &["files.read /etc/nginx/nginx.conf"]),
            (Role::Check, &["files.read /var/**"]),
        ]))
    );
    // Not where it is only inside one of the two.
    let result = narrowed(&["files.read /etc/hosts max-calls=1"]).expect("narrower");
    assert_eq!(result[&Role::Rollback], [grant("files.read /etc/nginx/**")]);
    assert_eq!(result[&Role::Fix][0], grant("files.read /etc/hosts max-calls=1"));
}

#[test]
fn several_replace_one_together() {
    let result = narrowed(&[
        "files.write /etc/a max-calls=1 max-bytes=40",
        "files.write /etc/b max-calls=1 max-bytes=60",
        "files.write /etc/b max-calls=1 max-bytes=60",
    ]);
    assert_eq!(
        result.expect("narrower")[&Role::Fix],
        [
            grant("files.read /etc/**"),
            grant("files.write /etc/a max-calls=1 max-bytes=40"),
            grant("files.write /etc/b max-calls=1 max-bytes=60"),
            grant("http.read /etc/**"),
        ]
    );
}

#[test]
fn wider_ones_are_refused() {
    for wider in [
        "files.read /**",
        "files.write /srv/x max-calls=1 max-bytes=1",
        "files.write /etc/x",
        "files.write /etc/x max-calls=2",
        "files.write /etc/x max-calls=3 max-bytes=100",
        "files.write /etc/x max-calls=2 max-bytes=101",
        "process.read /etc/x",
        "http.write /etc/x",
    ] {
        let refused = narrowed(&["files.read /etc/hosts", wider]);
        assert_eq!(refused, Err(GrantMismatch::NotRequested { role: None, grant: wider.to_owned() }));
    }
    let both =
        narrowed(&["files.write /etc/a max-calls=1 max-bytes=50", "files.write /etc/b max-calls=1 max-bytes=51"]);
    assert!(matches!(both, Err(GrantMismatch::LimitsAddUp { role: Role::Fix, .. })), "{both:?}");
    assert!(
        matches!(narrowed(&["files.read /etc/?"]), Err(GrantMismatch::Unreadable { why, .. }) if why.contains('?'))
    );
}

#[test]
fn limits_of_one_requested_grant_are_not_multiplied() {
    let requested = grants(&[(Role::Fix, &["files.write /etc/** max-calls=2", "files.write /etc/a max-calls=1"])]);
    let check = |granted: &[&str]| within(&requested, &grants(&[(Role::Fix, granted)]), &contains).is_ok();
    assert!(check(&[]));
    assert!(check(&["files.write /etc/a max-calls=1", "files.write /etc/** max-calls=2"]));
    assert!(check(&["files.write /etc/b max-calls=2", "files.write /etc/a max-calls=1"]));
    assert!(check(&["files.write /etc/b max-calls=1", "files.write /etc/c max-calls=1"]));
    assert!(!check(&["files.write /etc/** max-calls=2", "files.write /etc/** max-calls=2"]));
    assert!(!check(&["files.write /etc/b max-calls=2", "files.write /etc/c max-calls=1"]));
    assert!(!check(&[
        "files.write /etc/a max-calls=1",
        "files.write /etc/** max-calls=2",
        "files.write /etc/a max-calls=1"
    ]));
    // Whatever stands first, what is the same takes its own.
    let requested = grants(&[(Role::Fix, &["files.write /etc/** max-calls=2", "files.write /etc/a/** max-calls=1"])]);
    let granted = grants(&[(Role::Fix, &["files.write /etc/a/x max-calls=1", "files.write /etc/** max-calls=2"])]);
    assert!(within(&requested, &granted, &contains).is_ok());
    // Without limits, more of the same is no more.
    let open = grants(&[(Role::Check, &["files.read /etc/**"])]);
    let many = grants(&[(Role::Check, &["files.read /etc/**", "files.read /etc/**", "files.read /etc/a"])]);
    assert!(within(&open, &many, &contains).is_ok());
}
