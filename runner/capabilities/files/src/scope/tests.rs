use std::path::PathBuf;

use super::*;

fn scope(access: Access, text: &str) -> Scope {
    Scope::parse(access, &Selector::word(text)).expect(text)
}

/// A scope for writes with these verbs.
fn verbs(text: &str, verbs: &str) -> Result<Scope, String> {
    Scope::parse(Access::Write, &Selector::word(text).with("verbs", verbs))
}

fn read(text: &str) -> Scope {
    scope(Access::Read, text)
}

fn write(text: &str) -> Scope {
    scope(Access::Write, text)
}

#[test]
fn prints_as_it_was_written() {
    for text in ["/**", "/etc/nginx/**", "/etc/nginx/nginx.conf", "/etc/*/conf.d/*.conf", "/srv/a b/.*", "/*"] {
        let parsed = read(text);
        assert_eq!(parsed.selector(), Selector::word(text));
        assert_eq!(Scope::parse(Access::Read, &parsed.selector()), Ok(parsed));
    }
}

#[test]
fn refuses_other_spellings() {
    for (text, why) in [
        ("/", "`/**` for everything"),
        ("", "absolute"),
        ("etc", "absolute"),
        ("/etc/", "slash"),
        ("//etc", "empty segment"),
        ("/etc/../x", "normalized"),
        ("/etc/.", "normalized"),
        ("/etc/**/x", "whole last segment"),
        ("/etc/**/**", "whole last segment"),
        ("/etc/a**", "whole last segment"),
        ("/etc/\u{7}", "control"),
        ("/etc/\0", "control"),
    ] {
        let error = Scope::parse_text(Access::Read, text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
    let two = Selector { words: vec!["/a".to_owned(), "/b".to_owned()], named: Default::default() };
    assert!(Scope::parse(Access::Read, &two).is_err());
    assert!(Scope::parse(Access::Read, &Selector::word("/a").with("x", "y")).is_err());
}

#[test]
fn covers_paths() {
    for (pattern, path, inside) in [
        ("/etc/hosts", "/etc/hosts", true),
        ("/etc/hosts", "/etc/hosts2", false),
        ("/etc/hosts", "/etc", false),
        ("/etc/hosts", "/etc/hosts/x", false),
        ("/etc/*", "/etc/hosts", true),
        ("/etc/*", "/etc/a/b", false),
        ("/etc/*", "/etc/.hidden", false),
        ("/etc/.*", "/etc/.hidden", true),
        ("/etc/.*", "/etc/plain", false),
        ("/etc/*.conf", "/etc/.conf", false),
        ("/etc/*.conf", "/etc/a.conf", true),
        ("/etc/*.conf", "/etc/a.conf.bak", false),
        ("/etc/a*b*c", "/etc/aXbYbZc", true),
        ("/etc/a*b*c", "/etc/aXcY", false),
        ("/etc/*/x", "/etc/a/x", true),
        ("/etc/*/x", "/etc/.a/x", false),
        ("/etc/**", "/etc/a", true),
        ("/etc/**", "/etc/.a/b/c", true),
        ("/etc/**", "/etcetera", false),
        ("/**", "/anything/at/all", true),
        ("/etc/**", "/etc/../root/x", false),
        ("/etc/**", "/etc/.countersign-00", false),
    ] {
        let call = FilesCall::Read { path: path.to_owned() };
        assert_eq!(read(pattern).covers(&call), inside, "{pattern} {path}");
        let call = FilesCall::Remove { path: path.to_owned() };
        assert_eq!(write(pattern).covers(&call), inside, "{pattern} {path}");
        assert_eq!(write(pattern).reaches(path), inside, "{pattern} {path}");
        assert!(!write(pattern).covers(&FilesCall::Read { path: path.to_owned() }));
        assert!(!read(pattern).covers(&FilesCall::Remove { path: path.to_owned() }));
    }
}

#[test]
fn a_tree_takes_in_its_directory_for_reads_only() {
    for (pattern, path) in [("/etc/**", "/etc"), ("/**", "/")] {
        assert!(read(pattern).covers(&FilesCall::List { path: path.to_owned() }));
        assert!(read(pattern).covers(&FilesCall::Stat { path: path.to_owned() }));
        assert!(!write(pattern).covers(&FilesCall::Remove { path: path.to_owned() }));
        assert!(!write(pattern).reaches(path));
    }
}

#[test]
fn contains_what_it_takes_in() {
    for (wide, narrow, inside) in [
        ("/etc/**", "/etc/nginx/**", true),
        ("/etc/**", "/etc/**", true),
        ("/etc/nginx/**", "/etc/**", false),
        ("/etc/**", "/etc/a", true),
        ("/etc/**", "/etc/.a/b", true),
        ("/etc/*", "/etc/a", true),
        ("/etc/*", "/etc/.a", false),
        ("/etc/*", "/etc/*.conf", true),
        ("/etc/*.conf", "/etc/*", false),
        ("/etc/*", "/etc/.*", false),
        ("/etc/.*", "/etc/*", false),
        ("/etc/*a*", "/etc/b*a", true),
        ("/etc/a*", "/etc/*a", false),
        ("/etc/*a", "/etc/*ba", true),
        ("/etc/*", "/etc/**", false),
        ("/etc/*/x", "/etc/a/x", true),
        ("/etc/a/x", "/etc/*/x", false),
        ("/**", "/*", true),
        ("/etc/hosts", "/etc/hosts", true),
    ] {
        assert_eq!(read(wide).contains(&read(narrow)), inside, "{wide} {narrow}");
        assert_eq!(write(wide).contains(&write(narrow)), inside, "{wide} {narrow}");
        assert!(!read(wide).contains(&write(narrow)));
    }
    assert!(read("/etc/**").contains(&read("/etc")));
    assert!(!write("/etc/**").contains(&write("/etc")));
}

#[test]
fn containment_agrees_with_matching() {
    // Every short pattern against every short pattern: what is contained matches no name that the wider one does not.
    let letters = ["", "a", "b", ".", "*"];
    let mut patterns = Vec::new();
    let mut found = Vec::new();
    for x in letters {
        for y in letters {
            for z in letters {
                let text = format!("{x}{y}{z}");
                if !text.is_empty() && text != "." && text != ".." && !text.contains("**") {
                    patterns.push(text.clone());
                }
                if !text.is_empty() && !text.contains('*') {
                    for more in ["", "c", "ab", ".a"] {
                        found.push(format!("{text}{more}"));
                    }
                }
            }
        }
    }
    let within = |pattern: &str, name: &str| names(pattern.as_bytes(), name.as_bytes());
    for wide in &patterns {
        for narrow in &patterns {
            let all = found.iter().filter(|name| within(narrow, name)).all(|name| within(wide, name));
            assert_eq!(includes(wide, narrow), all, "{wide} {narrow}");
        }
    }
}

#[test]
fn the_least_scope_covers_just_the_call() {
    let call = FilesCall::Read { path: "/etc/hosts".to_owned() };
    let least = Scope::of(&call, &call.path().expect("path"));
    assert_eq!(least.selector(), Selector::word("/etc/hosts"));
    assert!(least.covers(&call));
    let root = Scope::of(&FilesCall::List { path: "/".to_owned() }, &Path::parse("/").expect("path"));
    assert_eq!(root.selector(), Selector::word("/**"));
    assert!(root.covers(&FilesCall::List { path: "/".to_owned() }));
}

fn writes() -> [(&'static str, FilesCall); 6] {
    let path = || "/a".to_owned();
    [
        ("replace", FilesCall::Replace { path: path(), contents: vec![] }),
        ("create", FilesCall::Create { path: path(), contents: vec![], mode: 0o600 }),
        ("remove", FilesCall::Remove { path: path() }),
        ("truncate", FilesCall::Truncate { path: path(), length: 0 }),
        ("set-mode", FilesCall::SetMode { path: path(), mode: 0o600 }),
        ("discard", FilesCall::Discard { path: path() }),
    ]
}

#[test]
fn who_may_set_a_mode_or_discard_is_named() {
    let all = verbs("/a", "replace,create,remove,truncate,set-mode,discard").expect("verbs");
    for (verb, call) in writes() {
        let unnamed = !["set-mode", "discard"].contains(&verb);
        assert_eq!(write("/a").covers(&call), unnamed, "{verb}");
        assert!(all.covers(&call) && verbs("/**", verb).expect(verb).covers(&call), "{verb}");
        let least = Scope::of(&call, &call.path().expect("path"));
        assert_eq!(least.selector(), Selector::word("/a").with("verbs", verb));
        for (other, another) in writes() {
            assert_eq!(least.covers(&another), verb == other, "{verb} {other}");
        }
        assert!(all.contains(&least) && !least.contains(&all), "{verb}");
        assert_eq!(write("/*").contains(&least), unnamed, "{verb}");
        assert!(least.reaches("/a"), "{verb}");
    }
    assert!(all.contains(&write("/a")) && !write("/a").contains(&all));
}

#[test]
fn verbs_have_one_spelling() {
    for (given, printed) in [
        ("discard,truncate", Some("truncate,discard")),
        ("truncate,remove,create,replace", None),
        ("set-mode", Some("set-mode")),
    ] {
        let parsed = verbs("/a", given).expect(given);
        let word = Selector::word("/a");
        assert_eq!(parsed.selector(), printed.map_or(word.clone(), |printed| word.with("verbs", printed)));
        assert_eq!(Scope::parse(Access::Write, &parsed.selector()), Ok(parsed));
    }
    for (given, why) in [
        ("", "not a verb"),
        ("chmod", "expected one of replace, create"),
        ("replace,", "not a verb"),
        ("Replace", "not a verb"),
        ("replace,replace", "twice"),
    ] {
        let error = verbs("/a", given).expect_err(given);
        assert!(error.contains(why), "{given}: {error}");
    }
    let read = Scope::parse(Access::Read, &Selector::word("/a").with("verbs", "replace"));
    assert!(read.expect_err("a read").contains("`verbs` is not known here"));
}

#[test]
fn the_fixed_directory_has_no_wildcards() {
    for (text, fixed) in [
        ("/**", 0),
        ("/srv/**", 1),
        ("/srv/a/*", 2),
        ("/srv/*/b/**", 1),
        ("/srv/a/file", 2),
        ("/file", 0),
        ("/srv/a*/b", 1),
    ] {
        assert_eq!(read(text).fixed(), fixed, "{text}");
    }
}

#[test]
fn what_could_reach_the_runner_is_endangering() {
    let protected = Protected {
        paths: vec![PathBuf::from("/var/lib/runner"), PathBuf::from("/home/u/.runner")],
        processes: vec![],
    };
    for (text, found) in [
        ("/var/lib/runner", Some("/var/lib/runner")),
        ("/var/lib/runner/journal", Some("/var/lib/runner")),
        ("/var/lib/runner/**", Some("/var/lib/runner")),
        ("/var/lib/runner/a/*/c", Some("/var/lib/runner")),
        ("/var/lib/**", Some("/var/lib/runner")),
        ("/var/lib/*", Some("/var/lib/runner")),
        ("/var/*/runner/x", Some("/var/lib/runner")),
        ("/var/lib/r*r", Some("/var/lib/runner")),
        ("/var/lib", Some("/var/lib/runner")),
        ("/var", Some("/var/lib/runner")),
        ("/**", Some("/var/lib/runner")),
        ("/home/u/.*", Some("/home/u/.runner")),
        ("/home/u/**", Some("/home/u/.runner")),
        ("/home/u/*", None),
        ("/var/lib/runner2", None),
        ("/var/lib/runner2/**", None),
        ("/var/log/**", None),
        ("/etc/hosts", None),
        ("/proc", Some("/proc")),
        ("/proc/**", Some("/proc")),
        ("/proc/1/mem", Some("/proc")),
        ("/sys/kernel/*", Some("/sys")),
        ("/p*/x", Some("/proc")),
    ] {
        for access in [Access::Read, Access::Write] {
            assert_eq!(scope(access, text).endangers(&protected).as_deref(), found, "{text}");
        }
    }
}
