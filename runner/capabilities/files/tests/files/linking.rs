//! The linker gets the granted interface and nothing else; the registry erases and restores types.

use countersign_capability::{Capability, Linker, Registry};
use countersign_files::Files;
use countersign_model::Access;

#[test]
fn each_interface_is_linked_alone_and_once() {
    let engine = wasmtime::Engine::default();
    for access in [Access::Read, Access::Write] {
        let mut linker = Linker::new(&engine);
        let other = if access == Access::Read { Access::Write } else { Access::Read };
        Files::link(&mut linker, access).expect("linked");
        assert!(Files::link(&mut linker, access).is_err(), "linked twice");
        Files::link(&mut linker, other).expect("the other was not linked yet");
    }
}

#[test]
fn the_registry_knows_it() {
    let registry = Registry::default().with::<Files>();
    let files = registry.get("files").expect("known");
    let grant = "files.read /etc/nginx/** max-calls=2".parse().expect("grant");
    assert_eq!(files.normalize(&grant).expect("normal"), grant);
    let call = files.parse_call("read", &countersign_model::Selector::word("/etc/nginx/a")).expect("call");
    let decoded = files.decode(&call).expect("decoded");
    assert_eq!((decoded.subject(), decoded.text().as_str()), ("/etc/nginx/a", "files.read /etc/nginx/a"));
    assert_eq!(files.least_grant(&call).expect("grant").to_string(), "files.read /etc/nginx/a");
    let scopes = files.scopes(&[grant]).expect("scopes");
    assert_eq!((scopes.covering(decoded.as_ref(), 0), scopes.covering(decoded.as_ref(), 1)), (Some(0), None));
}
