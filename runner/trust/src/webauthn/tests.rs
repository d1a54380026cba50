use crate::authenticator::{Authenticator, ORIGIN};
use crate::webauthn::{MAX_ORIGIN, wrong_origin};
use crate::{SignatureError, Signer, verify};

const SPACE: &str = "approval@countersign";
const BYTES: &[u8] = b"{\"a\":1}";

fn verified(key: &Authenticator) -> Result<Signer, SignatureError> {
    verify(SPACE, BYTES, key.sign(SPACE, BYTES).as_bytes())
}

/// The authenticator signs whatever the browser says, so what is wrong with it is all that is wrong.
#[track_caller]
fn refused(says: fn(&str, &str) -> String, why: &str) {
    match verified(&Authenticator::passkey(1).says(says)) {
        Err(SignatureError::ClientData(found)) => assert!(found.contains(why), "{found}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn takes_what_browsers_write() {
    let takes = |says| {
        let signer = verified(&Authenticator::passkey(1).says(says)).expect("valid");
        assert_eq!(signer.presence().and_then(|presence| presence.origin.as_deref()), Some(ORIGIN));
    };
    takes(|challenge, origin| {
        format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{origin}","crossOrigin":false}}"#)
    });
    takes(|challenge, origin| format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{origin}"}}"#));
    takes(|challenge, origin| {
        format!(
            r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{origin}","crossOrigin":false,"extra":{{"a":[1]}}}}"#
        )
    });
}

#[test]
fn the_challenge_is_what_was_to_be_signed() {
    let key = Authenticator::passkey(1).says(|challenge, origin| {
        let other = challenge.replacen('U', "V", 1);
        format!(r#"{{"type":"webauthn.get","challenge":"{other}","origin":"{origin}"}}"#)
    });
    assert!(matches!(verified(&key), Err(SignatureError::WrongSignature { .. })));
    // With padding, in the other alphabet, cut, or with the spaces of a lax decoder: another text.
    for says in [
        (|challenge, origin| format!(r#"{{"type":"webauthn.get","challenge":"{challenge}==","origin":"{origin}"}}"#))
            as fn(&str, &str) -> String,
        |challenge, origin| format!(r#"{{"type":"webauthn.get","challenge":"{challenge} ","origin":"{origin}"}}"#),
        |_, origin| format!(r#"{{"type":"webauthn.get","challenge":"","origin":"{origin}"}}"#),
        |_, origin| format!(r#"{{"type":"webauthn.get","challenge":7,"origin":"{origin}"}}"#),
        |_, origin| format!(r#"{{"type":"webauthn.get","origin":"{origin}"}}"#),
    ] {
        let found = verified(&Authenticator::passkey(1).says(says));
        assert!(matches!(found, Err(SignatureError::WrongSignature { .. })), "{found:?}");
    }
}

#[test]
fn it_begins_as_the_standard_has_it_written() {
    let begins = "does not begin as the standard";
    refused(|c, o| format!(r#"{{"challenge":"{c}","type":"webauthn.get","origin":"{o}"}}"#), begins);
    refused(|c, o| format!(r#"{{ "type":"webauthn.get","challenge":"{c}","origin":"{o}"}}"#), begins);
    refused(
        |c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","crossOrigin":false,"origin":"{o}"}}"#),
        begins,
    );
    refused(|c, o| format!(r#"{{"\u0074ype":"webauthn.get","challenge":"{c}","origin":"{o}"}}"#), begins);
    refused(
        |c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{}"}}"#, o.replace('/', "\\/")),
        begins,
    );
}

#[test]
fn its_type_and_its_origin_are_these() {
    refused(|c, o| format!(r#"{{"type":"webauthn.create","challenge":"{c}","origin":"{o}"}}"#), "its type");
    refused(|c, o| format!(r#"{{"type":"payment.get","challenge":"{c}","origin":"{o}"}}"#), "its type");
    refused(|c, o| format!(r#"{{"challenge":"{c}","origin":"{o}"}}"#), "its type");
    refused(
        |c, _| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"https://evil.example"}}"#),
        "its origin",
    );
    refused(|c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}.evil.example"}}"#), "its origin");
    refused(|c, _| format!(r#"{{"type":"webauthn.get","challenge":"{c}"}}"#), "its origin");
}

/// A key that stands twice says one thing to who reads the first, and another to who reads the last.
#[test]
fn no_key_stands_twice() {
    let twice = "stands twice";
    refused(
        |c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","origin":"https://evil.example"}}"#),
        twice,
    );
    refused(|c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","challenge":"AA"}}"#), twice);
    refused(|c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","\u0074ype":"x"}}"#), twice);
    refused(|c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","x":{{"a":1,"a":1}}}}"#), twice);
    refused(
        |c, o| {
            format!(
                r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","crossOrigin":false,"crossOrigin":true}}"#
            )
        },
        twice,
    );
}

#[test]
fn no_page_signs_for_another_that_holds_it() {
    let inside = "inside of another origin";
    refused(|c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","crossOrigin":true}}"#), inside);
    refused(|c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","crossOrigin":null}}"#), inside);
    refused(
        |c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","crossOrigin":"false"}}"#),
        inside,
    );
    refused(
        |c, o| {
            format!(
                r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","crossOrigin":false,"topOrigin":"{o}"}}"#
            )
        },
        inside,
    );
}

#[test]
fn it_is_json_and_no_larger_than_browsers_make_it() {
    refused(|c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}"}} {{}}"#), "");
    refused(|c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}"#), "");
    refused(|c, o| format!(r#"[{{"type":"webauthn.get","challenge":"{c}","origin":"{o}"}}]"#), "");
    refused(|_, _| String::new(), "");
    refused(
        |c, o| format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"{o}","x":"{}"}}"#, "x".repeat(4096)),
        "larger than is read",
    );
    let mut key = Authenticator::passkey(1);
    key.flags |= crate::authenticator::EXTENDED;
    key.browser.as_mut().expect("a browser").extensions = vec![0xa0; 1025];
    assert!(matches!(verified(&key), Err(SignatureError::ClientData(_))));
}

#[test]
fn origins_are_as_browsers_write_them() {
    for good in
        [ORIGIN, "https://a", "https://a.example:8443", "http://localhost", "http://localhost:8080", "https://xn--a_b"]
    {
        assert_eq!(wrong_origin(good), None, "{good}");
    }
    let long = format!("https://{}", "a".repeat(MAX_ORIGIN));
    for bad in [
        "",
        "https://",
        "https:/a",
        "http://a.example",
        "http://localhost.example",
        "http://localhosts",
        "HTTPS://a",
        "https://A",
        "https://a/",
        "https://a/b",
        "https://a?b",
        "https://a:0",
        "https://a:",
        "https://a:065",
        "https://a:65536",
        "https://a:+1",
        "https://u@a",
        "https://a..b",
        "https://a.",
        "https://a\"b",
        "https://a\\b",
        "https://é",
        "https://a b",
        "https://a\n",
        "null",
        "android:apk-key-hash:x",
        "https://*.example",
        "https://[::1]",
        &long,
    ] {
        assert!(wrong_origin(bad).is_some(), "{bad}");
        // Nor does what is signed at one get as far as the client data.
        let found = verified(&Authenticator::passkey(1).at(bad));
        assert!(matches!(found, Err(SignatureError::ClientData(_))), "{bad}: {found:?}");
    }
}
