//! Arguments against their schema, and in grants.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

use countersign_bundle::{ArgumentsError, MAX_ARGUMENTS_BYTES, Manifest};
use countersign_model::{Grant, Role};
use serde_json::{Map, Value, json};

const ARGUMENTS: &str = r#"
[arguments]
required = ["config"]
[arguments.properties.config]
type = "string"
description = "Path of the service's configuration"
maxLength = 2000
[arguments.properties.workers]
type = "integer"
minimum = 1
maximum = 64
default = 4
[arguments.properties.force]
type = "boolean"
[arguments.properties.level]
enum = ["low", "high"]
default = "low"
[arguments.properties.name]
type = "string"
pattern = "^[a-z]*$"
[arguments.properties.address]
format = "ipv4"
type = "string"
[arguments.properties.list]
type = "array"
items = { type = "integer" }
"#;

fn manifest(arguments: &str, grant: &str) -> Result<Manifest, String> {
    let text = format!(
        "name = \"a\"\ndescription = \"b\"\nrollback = \"undo\"\n{arguments}\n[steps.fix]\ngrants = ['''{grant}''']\n[steps.check]\n"
    );
    Manifest::parse(text.as_bytes()).map_err(|error| error.to_string())
}

fn usual() -> Manifest {
    manifest(ARGUMENTS, "files.read {config}").expect("a manifest")
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[test]
fn reads_text_by_the_schema() {
    let given = [("config", "/etc/a b"), ("workers", "8"), ("force", "true"), ("level", "high"), ("list", "[1, 2]")];
    assert_eq!(
        usual().parse_arguments(&given),
        Ok(object(json!({"config": "/etc/a b", "workers": 8, "force": true, "level": "high", "list": [1, 2]})))
    );
    // Defaults for what is absent; a string is never read as something else.
    assert_eq!(
        usual().parse_arguments(&[("config", "12")]),
        Ok(object(json!({"config": "12", "workers": 4, "level": "low"})))
    );
}

#[test]
fn refuses_text_with_a_reason() {
    for (key, text, why) in [
        ("workers", "65", "the argument `workers` does not fit: 65 is greater than the maximum of 64"),
        ("workers", "8.0", "the argument `workers` does not fit: `8.0` is not a whole number"),
        ("workers", "+8", "`+8` is not a whole number"),
        ("workers", "08", "`08` is not a whole number"),
        ("workers", "99999999999999999999", "is not a whole number"),
        ("force", "yes", "the argument `force` does not fit: `yes` is not `true` or `false`"),
        ("level", "middle", "the argument `level` does not fit: \"middle\" is not one of "),
        ("name", "A", "the argument `name` does not fit: \"A\" does not match \"^[a-z]*$\""),
        ("address", "1.2.3", "the argument `address` does not fit: \"1.2.3\" is not a \"ipv4\""),
        ("list", "[1, 1.5]", "the argument `list` does not fit: it is not JSON: the number 1.5 is not a whole number"),
        ("list", "[{\"a\":1,\"a\":2}]", "the key `a` stands twice"),
        ("list", "[\"x\"]", "the argument `list` does not fit: \"x\" is not of type \"integer\""),
        ("other", "1", "`other` is not an argument of this bundle: expected `address`, `config`, `force`, "),
        ("a\u{202e}b", "1", "`a\\u{202e}b` is not an argument"),
        ("config", "/x", "the argument `config` is given twice"),
    ] {
        let error = usual().parse_arguments(&[("config", "/x"), (key, text)]).expect_err(text).to_string();
        assert!(error.contains(why), "{key}={text}: {error}");
    }
    let missing = usual().parse_arguments::<&str, &str>(&[]).expect_err("missing").to_string();
    assert_eq!(missing, "the argument `config` is missing: Path of the service's configuration");
    let none = manifest("", "files.read /x").expect("a manifest").parse_arguments(&[("a", "1")]).expect_err("none");
    assert_eq!(none.to_string(), "`a` is not an argument of this bundle: expected none");
}

#[test]
fn validates_values() {
    let manifest = usual();
    let validate = |value| manifest.validate(&object(value)).map_err(|error| error.to_string());
    assert_eq!(validate(json!({"config": "/x"})), Ok(()));
    assert_eq!(validate(json!({"config": "/x", "list": []})), Ok(()));
    for (value, why) in [
        (json!({}), "the argument `config` is missing"),
        (json!({"config": 1}), "the argument `config` does not fit: 1 is not of type \"string\""),
        (json!({"config": "/x", "b\u{1b}": 1}), "`b\\u{1b}` is not an argument of this bundle"),
        (json!({"config": "/x", "workers": 1.5}), "the argument `workers` does not fit: numbers are whole"),
        (json!({"config": "/x", "workers": 2.0}), "the argument `workers` does not fit: numbers are whole"),
        (json!({"config": "\u{1b}".repeat(2500)}), "the argument `config` does not fit: \"\\u001b"),
    ] {
        let error = validate(value.clone()).expect_err("invalid");
        assert!(error.contains(why) && error.len() < 600, "{value}: {error}");
    }
    assert_eq!(
        manifest.validate(&object(json!({"config": "x".repeat(MAX_ARGUMENTS_BYTES)}))),
        Err(ArgumentsError::TooLarge)
    );
}

/// What is approved is read again as a part of larger documents, whose nesting is bounded.
#[test]
fn bounds_nesting() {
    let manifest = manifest("[arguments.properties.a]\n", "files.read /x").expect("a manifest");
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    manifest.parse_arguments(&[("a", nested(16))]).expect("as deep as it may be");
    let error = manifest.parse_arguments(&[("a", nested(17))]).expect_err("deep").to_string();
    assert_eq!(error, "the argument `a` does not fit: numbers are whole and nesting ends after 16 levels");
    let error = manifest.parse_arguments(&[("a", nested(8_000))]).expect_err("deep").to_string();
    assert!(error.starts_with("the argument `a` does not fit: it is not JSON: nested too deeply"), "{error}");
}

#[test]
fn validates_arguments_together() {
    let schema = "[arguments]\nminProperties = 1\n[arguments.properties.a]\n[arguments.properties.b]\n";
    let manifest = manifest(schema, "files.read /x").expect("a manifest");
    let error = manifest.validate(&Map::new()).expect_err("none").to_string();
    assert!(error.starts_with("the arguments do not fit together: "), "{error}");
}

#[test]
fn refuses_schemas_that_it_would_not_enforce() {
    let property = |text: &str| format!("[arguments.properties.a]\n{text}\n");
    for (schema, why) in [
        ("[arguments]\ntype = \"array\"\n".to_owned(), "`arguments.type`"),
        ("[arguments]\nadditionalProperties = true\n".to_owned(), "`arguments.additionalProperties`"),
        ("[arguments]\nadditionalProperties = {}\n".to_owned(), "`arguments.additionalProperties`"),
        ("[arguments]\n\"$schema\" = \"http://json-schema.org/draft-07/schema#\"\n".to_owned(), "`arguments.$schema`"),
        ("[arguments]\nrequired = [\"a\"]\n".to_owned(), "`a` is not among the properties"),
        ("[arguments]\nproperties = 1\n".to_owned(), "`arguments"),
        ("[arguments.properties.\"a b\"]\n".to_owned(), "cannot name an argument"),
        ("[arguments.properties.\"\"]\n".to_owned(), "cannot name an argument"),
        (format!("[arguments.properties.{}]\n", "a".repeat(65)), "cannot name an argument"),
        (property("minLenght = 1"), "`arguments.properties.a.minLenght` is not a keyword"),
        (property("\"$ref\" = \"http://127.0.0.1:1/x\""), "`arguments.properties.a.$ref` is not a keyword"),
        (property("\"$ref\" = \"file:///etc/passwd\""), "`arguments.properties.a.$ref` is not a keyword"),
        (property("\"$ref\" = \"#\""), "`arguments.properties.a.$ref` is not a keyword"),
        (property("\"$dynamicRef\" = \"#\""), "is not a keyword"),
        (property("\"$id\" = \"http://127.0.0.1:1/x\""), "is not a keyword"),
        (
            property("items = { anyOf = [{ not = { \"$ref\" = \"#\" } }] }"),
            "`arguments.properties.a.items.anyOf.not.$ref`",
        ),
        (property("format = \"regex\""), "`arguments.properties.a.format`: expected one of"),
        (property("format = \"idn-hostname\""), "expected one of"),
        (property("type = \"text\""), "`arguments.properties.a.type`"),
        (property("minimum = 1.5"), "`arguments.properties.a.minimum`: numbers are whole"),
        (property("const = 1979-05-27"), "`arguments.properties.a.const`: JSON has no dates"),
        (property("minimum = \"1\""), "`arguments.properties.a.minimum`"),
        (property("type = \"integer\"\ndefault = \"x\""), "`arguments.properties.a.default`: \"x\" is not of type"),
        (property("pattern = \"(\""), "`arguments.properties.a.pattern`"),
        (property("pattern = '(a)\\1'"), "`arguments.properties.a.pattern`"),
        (property("pattern = 'a(?=b)c'"), "`arguments.properties.a.pattern`"),
        (property(&format!("pattern = '{}'", "a".repeat(257))), "at most 256 bytes"),
        (property("pattern = '((((\\p{L}{100}){100}){100}){100})'"), "`arguments.properties.a.pattern`"),
        (property("pattern = '(.*a){120}c'"), "matched in linear time"),
        (property(&format!("allOf = [{}]", vec!["{ pattern = 'a' }"; 17].join(","))), "more than 16 patterns"),
        (property(&format!("allOf = [{}]", vec!["{}"; 256].join(","))), "more than 256 schemas"),
    ] {
        let error = manifest(&schema, "files.read /x").map(|_| ()).expect_err(&schema);
        assert!(error.contains(why), "{schema}: {error}");
    }
    manifest(
        "[arguments]\n\"$schema\" = \"https://json-schema.org/draft/2020-12/schema\"\ntype = \"object\"\nadditionalProperties = false\n",
        "files.read /x",
    )
    .expect("said as it is anyway");
}

/// A backtracking engine gives up on these, or takes longer than anyone waits.
#[test]
fn matching_takes_linear_time() {
    for pattern in ["^(([a-z])+.)+[A-Z]([a-z])+$", "^(a|a)*$", "^(a*)*$"] {
        let schema = format!("[arguments.properties.a]\ntype = \"string\"\npattern = '{pattern}'\n");
        let manifest = manifest(&schema, "files.read /x").expect("a manifest");
        let start = std::time::Instant::now();
        let error = manifest.parse_arguments(&[("a", "a".repeat(10_000) + "!")]).expect_err("no match").to_string();
        assert!(error.starts_with("the argument `a` does not fit: \"aaaa"), "{error}");
        assert!(start.elapsed() < std::time::Duration::from_secs(2), "{pattern}: {:?}", start.elapsed());
    }
    // The usual ones are small enough.
    for pattern in ["^/[A-Za-z0-9._/-]{1,255}$", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "^\\w{1,64}$", "^\\S+@\\S+$"] {
        let schema = format!("[arguments.properties.a]\npattern = '{pattern}'\n");
        manifest(&schema, "files.read /x").expect(pattern);
    }
}

/// The grant after filling in one argument `a`.
fn filled(grant: &str, value: Value) -> Result<Grant, String> {
    let manifest = manifest("[arguments.properties.a]\ntype = \"string\"\n", grant).expect(grant);
    let grants = manifest.grants(Role::Fix, &object(json!({"a": value})));
    grants.map(|mut grants| grants.remove(0)).map_err(|error| error.to_string())
}

#[test]
fn an_argument_stays_inside_its_word() {
    for value in
        ["/srv/a b", "/srv/\"a\"", "/x max-calls=9", "/x\" max-calls=9 \"", "\\", "exe=/x", "/ä", "{b}", "max-calls=9"]
    {
        let grant = filled("files.write {a} max-calls=1", json!(value)).expect(value);
        assert_eq!((grant.scope.words.as_slice(), grant.scope.named.len()), ([value.to_owned()].as_slice(), 0));
        assert_eq!(grant.limits.max_calls, Some(1));
        assert_eq!(grant.to_string().parse(), Ok(grant));
    }
    let grant = filled("process.read exe={a}", json!("/x signals=HUP")).expect("a grant");
    assert_eq!(grant.to_string(), "process.read exe=\"/x signals=HUP\"");
    let grant = filled("files.read \"/srv/{a} and {a}\"", json!("one two")).expect("a grant");
    assert_eq!(grant.to_string(), "files.read \"/srv/one two and one two\"");
    let grant = filled("http.read {a}/healthz", json!("http://127.0.0.1:8080")).expect("a grant");
    assert_eq!(grant.to_string(), "http.read http://127.0.0.1:8080/healthz");
}

#[test]
fn an_argument_never_widens_a_grant() {
    for value in [
        "",
        "*",
        "/srv/**",
        "/a*b",
        "HUP,KILL",
        "/x\n",
        "/x\r",
        "/x\0",
        "/x\u{1b}[0m",
        "/x\u{202e}",
        "/x\u{200b}",
        "/x\u{a0}",
        "/x\u{2003}",
        "/x\u{3000}",
        "..",
        "/srv/../etc",
        "/srv/..",
        "..\\x",
    ] {
        let error = filled("files.read {a}", json!(value)).expect_err(value);
        assert!(error.starts_with("the argument `a` cannot stand in the grant `files.read {a}`: it "), "{error}");
    }
    for value in ["b/c", "b\\c", "h?x=", "h#", "user@h", "%2e%2e"] {
        for grant in ["files.read /srv/{a}", "http.read http://{a}/x", "process.read exe=/bin/{a}"] {
            let error = filled(grant, json!(value)).expect_err(value);
            assert!(error.contains("leads out of the word"), "{grant} {value}: {error}");
        }
        filled("files.read {a}", json!(value)).expect("the whole word is the argument's");
    }
    for value in ["http://h/?x=", "http://h/#"] {
        let error = filled("http.read {a}/healthz", json!(value)).expect_err(value);
        assert!(error.contains("changes what the text after it means"), "{error}");
    }
    let error = filled("files.read {a}", json!("x".repeat(9000))).expect_err("long");
    assert_eq!(error, "the grant `files.read {a}` is too long with these arguments");
}

/// `grants` does not rely on its caller to have validated.
#[test]
fn an_argument_is_of_its_type_and_there() {
    for value in [json!(1), json!(true), json!(null), json!(["/x"]), json!({"b": "/x"})] {
        let error = filled("files.read {a}", value).expect_err("no string");
        assert!(error.ends_with("it is not a string"), "{error}");
    }
    let manifest = usual();
    let error = manifest.grants(Role::Fix, &Map::new()).expect_err("absent").to_string();
    assert_eq!(error, "the argument `config` cannot stand in the grant `files.read {config}`: it is not given");
    assert_eq!(manifest.grants(Role::Rollback, &Map::new()), Ok(Vec::new()));
    let schema = "[arguments.properties.port]\ntype = \"integer\"\n[arguments.properties.on]\ntype = \"boolean\"\n";
    let manifest = self::manifest(schema, "http.read http://h:{port}/x on={on}").expect("a manifest");
    let grants = manifest.grants(Role::Fix, &object(json!({"port": -1, "on": false}))).expect("a grant");
    assert_eq!(grants[0].to_string(), "http.read http://h:-1/x on=false");
    assert!(manifest.grants(Role::Fix, &object(json!({"port": 1.0, "on": false}))).is_err());
}
