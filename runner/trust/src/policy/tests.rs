use super::*;
use crate::authenticator::Authenticator;
use crate::fixture::*;

fn refused(text: &str) -> String {
    Policy::parse(text.as_bytes()).expect_err(text).to_string()
}

fn changed(from: &str, to: &str) -> String {
    let text = policy_text();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

#[test]
fn finds_who_a_key_belongs_to() {
    let text = policy_text();
    let policy = Policy::parse(text.as_bytes()).expect("a policy");
    assert_eq!(policy.digest(), Digest::of(text.as_bytes()));
    assert_eq!((policy.quorum(), policy.max_uses(), policy.max_validity_ms()), (1, 2, 2 * HOUR));
    assert!(!policy.allows_scoped() && !policy.unlisted_may_propose());
    assert_eq!(policy.approvers().collect::<Vec<_>>(), ["alice", "bob", "carol"]);

    let who = |seed| policy.principal(key(seed).fingerprint());
    let rights = |seed| [Right::Approve, Right::Propose, Right::Operate].map(|right| who(seed).may(right));
    assert_eq!(who(BOBS_OTHER).name(), "bob");
    assert_eq!(who(BOBS_OTHER).kind(), PrincipalKind::Person);
    assert_eq!(rights(ALICE), [true, false, false]);
    assert_eq!(rights(CAROL), [true, true, true]);
    assert_eq!(rights(DAVE), [false, false, true]);
    assert_eq!(
        (who(AGENT).name(), who(AGENT).kind(), who(AGENT).person()),
        ("fixer", PrincipalKind::Agent, Some("carol"))
    );
    assert_eq!(rights(AGENT), [false, true, false]);
    assert_eq!((who(STRANGER).kind(), who(STRANGER).person()), (PrincipalKind::Unlisted, None));
    assert_eq!(rights(STRANGER), [false, false, false]);

    let open = Policy::parse(changed("unlisted = false", "unlisted = true").as_bytes()).expect("a policy");
    assert!(open.principal("SHA256:x").may(Right::Propose) && !open.principal("SHA256:x").may(Right::Approve));
}

#[test]
fn what_is_left_out_is_strict() {
    let text = changed("[proposals]\nunlisted = false\n", "");
    let text = text.replace("max-uses = 2\nscoped = false\n", "");
    let policy = Policy::parse(text.as_bytes()).expect("a policy");
    assert!(!policy.unlisted_may_propose() && !policy.allows_scoped());
    assert_eq!(policy.max_uses(), 1);
    for needed in ["version = 1\n", "quorum = 1\n", "max-validity = \"2h\"\n", "may = [\"approve\"]\n"] {
        let message = refused(&changed(needed, ""));
        assert!(message.contains("missing field"), "{message}");
    }
}

#[test]
fn is_strict_toml() {
    for (text, why) in [
        (changed("quorum = 1", "quorum = 1\nquorum = 1"), "line 6: duplicate key"),
        (changed("quorum = 1", "quorums = 1"), "unknown field"),
        (changed("name = \"alice\"", "name = \"alice\"\nadmin = true"), "unknown field"),
        (changed("version = 1", "version = 1\n\"\\u001B\" = 1"), "unknown field"),
        (changed("quorum = 1", "quorum = 1.0"), "floating point"),
        (changed("quorum = 1", "quorum = -1"), "line 5"),
        (changed(r#"["approve"]"#, r#"["admin"]"#), "unknown variant"),
        (changed("version = 1", "version = 2"), "its version is `2`"),
        (" ".repeat(MAX_POLICY + 1), "more than"),
        (String::new(), "missing field"),
    ] {
        let message = refused(&text);
        assert!(message.contains(why) && !message.contains('\u{1b}'), "{message}");
    }
    assert!(Policy::parse(b"version = 1\n# \xff").expect_err("latin").to_string().contains("UTF-8"));
}

#[test]
fn names_and_keys_stand_once() {
    for (text, why) in [
        (changed("\"bob\"", "\"alice\""), "the name `alice` stands twice"),
        (changed("\"bob\"", "\"Alice\""), "the name `Alice` stands twice"),
        (changed("\"fixer\"", "\"dave\""), "the name `dave` stands twice"),
        (changed("\"fixer\"", "\"\""), "`` is not a name"),
        (changed("\"fixer\"", "\"-x\""), "is not a name"),
        (changed("\"fixer\"", "\"a b\""), "is not a name"),
        (changed("\"fixer\"", "\"fixér\""), "is not a name"),
        (changed("\"fixer\"", "\"a\\u202Eb\""), "`a\\u{202e}b` is not a name"),
        (changed("\"fixer\"", &format!("\"{}\"", "a".repeat(65))), "is not a name"),
        (changed("owner = \"carol\"", "owner = \"erin\""), "the owner `erin` of `fixer`"),
        (changed("owner = \"carol\"", "owner = \"fixer\""), "the owner `fixer` of `fixer`"),
    ] {
        let message = refused(&text);
        assert!(message.contains(why), "{message}");
    }
    let (alice, bob) = (key(ALICE).public_key().to_openssh(), key(BOB).public_key().to_openssh());
    for other in [BOB, BOBS_OTHER, AGENT] {
        let message = refused(&changed(&key(other).public_key().to_openssh(), &format!("{alice} other comment")));
        assert!(message.contains("is listed already, for `alice`"), "{message}");
    }
    assert!(refused(&changed(&format!("\"{bob}\", "), &format!("\"{bob}\", \"{bob}\", "))).contains("for `bob`"));
    assert!(refused(&changed(&format!("[\"{alice}\"]"), "[]")).contains("`alice` has no keys"));
    assert!(refused(&changed(&alice, "")).contains("a key of `alice` is not taken: it is not an OpenSSH public key"));
    assert!(refused(&changed(&alice, "ssh-rsa AAAA")).contains("of the kind `ssh-rsa`"));
    // The point of order 1.
    let weak = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(refused(&changed(&alice, weak)).contains("weak"));
}

/// One secret is one key, whatever it is called.
#[test]
fn secrets_stand_once() {
    let alice = key(ALICE).public_key().to_openssh();
    let hardware = Authenticator::ed25519(11);
    for (first, second) in [
        (hardware.clone(), hardware.clone().for_application("ssh:other")),
        (Authenticator::ecdsa(11), Authenticator::passkey(11)),
        // As a file, and as hardware.
        (hardware, Authenticator::ed25519(BOB)),
    ] {
        let message = refused(&changed(&alice, &format!("{}\", \"{}", first.line(), second.line())));
        assert!(message.contains("the same secret as one that is listed already"), "{message}");
        // Twice the very same.
        let message = refused(&changed(&alice, &format!("{}\", \"{}", first.line(), first.line())));
        assert!(message.contains("is listed already, for `alice`"), "{message}");
    }
}

#[test]
fn agents_have_no_hardware() {
    let agent = key(AGENT).public_key().to_openssh();
    for (authenticator, kind) in
        [(Authenticator::ed25519(11), "sk-ssh-ed25519"), (Authenticator::ecdsa(11), "sk-ecdsa")]
    {
        let message = refused(&changed(&agent, &authenticator.line()));
        assert!(message.contains("the agent `fixer`") && message.contains(kind), "{message}");
        assert!(message.contains("hardware is for people"), "{message}");
    }
}

#[test]
fn origins_are_listed_as_browsers_write_them() {
    let with = |origins: &str| changed("[approval]", &format!("[keys]\norigins = [{origins}]\n[approval]"));
    let policy = Policy::parse(with("\"https://a.example\", \"https://b.example:8443\"").as_bytes()).expect("a policy");
    assert_eq!(policy.demands().origins.len(), 2);
    assert!(!policy.demands().touch && !policy.demands().pin && policy.demands().applications.is_none());
    let many: Vec<String> = (0..=MAX_ORIGINS).map(|number| format!("\"https://a{number}\"")).collect();
    assert!(Policy::parse(with(&many[1..].join(",")).as_bytes()).is_ok());
    for (origins, why) in [
        ("\"https://a.example/\"", "`origins` is not taken: `https://a.example/`"),
        ("\"http://a.example\"", "does not begin with `https://`"),
        ("\"https://a\\u202e\"", "`https://a\\u{202e}`"),
        ("\"https://a\", \"https://a\"", "stands twice"),
        (&many.join(","), "33 are more than 32"),
    ] {
        let message = refused(&with(origins));
        assert!(message.contains(why), "{message}");
    }
    assert!(refused(&changed("[approval]", "[keys]\norigin = []\n[approval]")).contains("unknown field"));
}

#[test]
fn bounds_are_kept() {
    for (quorum, good) in [(0, false), (1, true), (3, true), (4, false), (u32::MAX, false)] {
        let text = changed("quorum = 1", &format!("quorum = {quorum}"));
        assert_eq!(Policy::parse(text.as_bytes()).is_ok(), good, "{quorum}");
    }
    for (uses, good) in [(0, false), (1, true), (1000, true), (1001, false)] {
        let text = changed("max-uses = 2", &format!("max-uses = {uses}"));
        assert_eq!(Policy::parse(text.as_bytes()).is_ok(), good, "{uses}");
    }
    assert!(refused(&changed("\"2h\"", "\"2 hours\"")).contains("`max-validity` is not taken: `2 hours`"));
    assert!(refused(&changed("\"2h\"", "\"0s\"")).contains("max-validity"));
}
