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
    assert_eq!((policy.serial(), policy.max_uses(), policy.max_validity_ms()), (7, 2, 2 * HOUR));
    assert_eq!(
        [policy.issued(), policy.expires()].map(crate::moment),
        ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]
    );
    assert_eq!((policy.threshold(), policy.roots()), (1, &[key(ROOT).public_key().clone()][..]));
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

    let open = Policy::parse(changed(r#"who = ["*"]"#, r#"who = ["unlisted"]"#).as_bytes()).expect("a policy");
    assert!(open.principal("SHA256:x").may(Right::Propose) && !open.principal("SHA256:x").may(Right::Approve));
}

#[test]
fn what_is_left_out_is_strict() {
    let policy = Policy::parse(changed("max-uses = 2\nscoped = false\n", "").as_bytes()).expect("a policy");
    assert!(!policy.unlisted_may_propose() && !policy.allows_scoped());
    assert_eq!(policy.max_uses(), 1);
    for needed in [
        "serial = 7\n",
        "expires = \"2028-01-01T00:00:00Z\"\n",
        "threshold = 1\n",
        "people = 1\n",
        "max-validity = \"2h\"\n",
        "may = [\"approve\"]\n",
        "targets = [\"web-*\"]\n",
    ] {
        let message = refused(&changed(needed, ""));
        assert!(message.contains("missing field"), "{message}");
    }
}

#[test]
fn is_strict_toml() {
    for (text, why) in [
        (changed("people = 1", "people = 1\npeople = 1"), "duplicate key"),
        (changed("people = 1", "persons = 1"), "unknown field"),
        (changed("name = \"alice\"", "name = \"alice\"\nadmin = true"), "unknown field"),
        (changed("serial = 7", "serial = 7\n\"\\u001B\" = 1"), "unknown field"),
        (changed("people = 1", "people = 1.0"), "floating point"),
        (changed("people = 1", "people = -1"), "line "),
        (changed(r#"["approve"]"#, r#"["admin"]"#), "unknown variant"),
        (changed("version = 2", "version = 1"), "its version is `1`, expected `2`"),
        (changed("version = 2", "version = 1\nmore = 1"), "its version is `1`"),
        (" ".repeat(MAX_POLICY + 1), "more than"),
        (String::new(), "missing field"),
    ] {
        let message = refused(&text);
        assert!(message.contains(why) && !message.contains('\u{1b}'), "{message}");
    }
    assert!(Policy::parse(b"version = 2\n# \xff").expect_err("latin").to_string().contains("UTF-8"));
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
        (changed("\"fixer\"", "\"Unlisted\""), "means keys that are not listed"),
        (changed("owner = \"carol\"", "owner = \"erin\""), "`erin`, the owner of `fixer`, is not a person"),
        (changed("owner = \"carol\"", "owner = \"fixer\""), "`fixer`, the owner of `fixer`"),
        (changed("owner = \"carol\"", "enrolled-by = \"erin\""), "`erin`, who enrolled the keys of `fixer`"),
        (changed("\"fixes\"", "\"a\\u200Bb\""), "all of which can be seen"),
        (changed("\"fixes\"", "\" fixes\""), "is no name of a rule"),
        (policy_text() + "[[quorums]]\nname = \"EVERY run\"\npeople = 1\n", "the name `EVERY run` stands twice"),
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
fn the_roots_are_people_and_as_many_as_they_seem() {
    let roots = |threshold: u32, keys: &[u8]| {
        let keys: Vec<_> = keys.iter().map(|seed| format!("\"{}\"", line(*seed))).collect();
        let text = changed(
            &format!("keys = [\"{}\"]\n[approval]", line(ROOT)),
            &format!("keys = [{}]\n[approval]", keys.join(",")),
        );
        text.replace("threshold = 1", &format!("threshold = {threshold}"))
    };
    let policy = Policy::parse(roots(2, &[ALICE, BOB, STRANGER]).as_bytes()).expect("a policy");
    assert_eq!((policy.threshold(), policy.roots().len()), (2, 3));
    for (text, why) in [
        (roots(0, &[ALICE]), "the threshold is 0, and there are 1 keys"),
        (roots(2, &[ALICE]), "the threshold is 2"),
        (roots(1, &[]), "there are 0 keys"),
        (roots(2, &[ALICE, ALICE]), "two of the keys"),
        (roots(2, &[BOB, BOBS_OTHER]), "person `bob` has two of the keys"),
        (roots(2, &[STRANGER, STRANGER]), "stands twice"),
        (roots(1, &[AGENT]), "agent `fixer`, and only people decide"),
        (roots(1, &[ALICE]) + "[[revocations]]\nprincipal = \"alice\"\nreason = \"left\"\n", "is revoked: left"),
        (
            roots(1, &[STRANGER])
                + &format!("[[revocations]]\nkey = \"{}\"\nreason = \"lost\"\n", key(STRANGER).fingerprint()),
            "is revoked",
        ),
    ] {
        let message = refused(&text);
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn bounds_are_kept() {
    for (people, good) in [(0, false), (1, true), (3, true), (4, false), (u32::MAX, false)] {
        let text = changed("people = 1", &format!("people = {people}"));
        assert_eq!(Policy::parse(text.as_bytes()).is_ok(), good, "{people}");
    }
    for (uses, good) in [(0, false), (1, true), (1000, true), (1001, false)] {
        let text = changed("max-uses = 2", &format!("max-uses = {uses}"));
        assert_eq!(Policy::parse(text.as_bytes()).is_ok(), good, "{uses}");
    }
    for (serial, good) in [(0, false), (1, true), (1_000_000_000, true), (1_000_000_001, false)] {
        let text = changed("serial = 7", &format!("serial = {serial}"));
        assert_eq!(Policy::parse(text.as_bytes()).is_ok(), good, "{serial}");
    }
    for (expires, good) in [
        ("2027-01-01T00:00:00Z", false),
        ("2026-12-31T00:00:00Z", false),
        ("2030-01-01T00:00:00Z", true),
        ("2031-01-01T00:00:00Z", false),
        ("2028-01-01", false),
        ("2028-01-01T01:00:00+01:00", false),
    ] {
        let text = changed("2028-01-01T00:00:00Z", expires);
        assert_eq!(Policy::parse(text.as_bytes()).is_ok(), good, "{expires}");
    }
    assert!(refused(&changed("\"2h\"", "\"2 hours\"")).contains("`max-validity` is not taken: `2 hours`"));
    assert!(refused(&changed("\"2h\"", "\"0s\"")).contains("max-validity"));
}

/// What could never hold, or always would, is told when it is read.
#[test]
fn entries_that_make_no_sense_are_refused() {
    for (text, why) in [
        (changed("targets = [\"web-*\"]", "targets = []"), "each need one entry"),
        (changed("who = [\"*\"]", "who = [\"a b\"]"), "is no name or pattern"),
        (changed("who = [\"*\"]", "who = [\"*\"]\nwithin-ceilings = true"), "either `grants` or"),
        (changed("files.read /etc/**", "files.look /etc/**"), "neither `read` nor `write`"),
        (
            changed("who = [\"*\"]", "who = [\"*\"]\napprovers = [\"sre\"]"),
            "nobody who may approve is in the group `sre`",
        ),
        (changed("people = 1", "people = 1\ngroups = [\"sre\"]"), "the quorum `every run`: nobody who may approve"),
        (changed("people = 1", "people = 1\nirreversible = true"), "no quorum is without a condition"),
        (policy_text() + "[[ceilings]]\nname = \"c\"\ntargets = []\ngrants = []\n", "the ceiling `c`"),
        (
            policy_text()
                + "[[freezes]]\nname = \"f\"\ntargets = [\"*\"]\nreason = \"x\"\nfrom = \"2027-02-01T00:00:00Z\"\nuntil = \"2027-02-01T00:00:00Z\"\n",
            "the freeze `f` ends before it begins",
        ),
        (policy_text() + "[[revocations]]\nreason = \"x\"\n", "exactly one of"),
        (
            policy_text() + "[[revocations]]\nreason = \"x\"\nkey = \"SHA256:x\"\nprincipal = \"dave\"\n",
            "exactly one of",
        ),
        (policy_text() + "[[revocations]]\nreason = \"x\"\nkey = \"alice\"\n", "is no fingerprint"),
        (policy_text() + "[[revocations]]\nreason = \" \"\nprincipal = \"dave\"\n", "`reason` needs"),
        (policy_text() + "[[revocations]]\nreason = \"x\"\nprincipal = \"erin\"\n", "nobody is called `erin`"),
    ] {
        let message = refused(&text);
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn differences_are_told_entry_by_entry() {
    let policy = |text: &str| Policy::parse(text.as_bytes()).expect("a policy");
    let before = policy(&policy_text());
    assert_eq!(before.differences(&before), []);
    let later = changed("serial = 7", "serial = 8").replace("people = 1", "people = 2");
    let later = policy(&later.replace("may = [\"operate\"]", "may = [\"operate\", \"approve\"]\ngroups = [\"sre\"]"));
    let told: Vec<_> =
        before.differences(&later).into_iter().map(|d| (d.section, d.name, d.was.is_some(), d.is)).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], ("policy", "serial".to_owned(), true, Some("8".to_owned())));
    assert!(
        told[1].0 == "person" && told[1].3.as_ref().is_some_and(|is| is.contains("may approve, operate; in `sre`")),
        "{told:?}"
    );
    assert_eq!(told[2], ("quorum", "every run".to_owned(), true, Some("2 people always".to_owned())));
    let gone = policy(&policy_text().replace("name = \"fixes\"", "name = \"other\""));
    let told = before.differences(&gone);
    assert_eq!((told[0].was.is_none(), told[1].is.is_none(), told[1].name.as_str()), (true, true, "fixes"));
}
