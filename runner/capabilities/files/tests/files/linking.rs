//! The linker gets the granted interface and nothing else; the registry erases and restores types.

use countersign_capability::{Capability, Linker, Opening, Permitting, Phase, Registry};
use countersign_files::Files;
use countersign_model::{Access, Call, FaultKind, Grant, Selector};

use crate::support::{Host, Memory, context};

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

/// The gate permits; the registry's adapter does not take its word for it.
#[test]
fn a_session_tests_again_what_permits_a_call() {
    let host = Host::live();
    host.write("file", "x");
    let registry = Registry::default().with::<Files>();
    let files = registry.get("files").expect("known");
    let (settings, protected) = (serde_json::Value::Null, Default::default());
    let opening = Opening { settings: &settings, phase: Phase::Live, protected: &protected };
    let mut session = files.open(&opening).expect("session");
    let path = host.path("file");
    let grants = [format!("files.read {path}"), format!("files.read {path}2"), format!("files.write {path}")];
    let grants = grants.map(|grant| grant.parse::<Grant>().expect("grant"));
    let scopes = files.scopes(&grants).expect("scopes");
    let read =
        files.parse_call("read", &Selector::word(path.as_str())).and_then(|call| files.decode(&call)).expect("call");
    let typed = countersign_files::FilesCall::Remove { path };
    let arguments = postcard::to_stdvec(&typed).expect("encoded");
    let call = Call { capability: "files".to_owned(), function: "remove".to_owned(), arguments };
    let remove = files.decode(&call).expect("call");
    for at in 0..4 {
        let by = Permitting { scopes: scopes.as_ref(), at };
        let mut blobs = Memory::default();
        let result = session.read(&mut context(&mut blobs), by, read.as_ref()).map_err(|fault| fault.kind);
        assert_eq!(result.is_ok(), at == 0, "{at}: {result:?}");
        let result = session.prepare(&mut context(&mut blobs), by, remove.as_ref()).map_err(|fault| fault.kind);
        assert_eq!(result.is_ok(), at == 2, "{at}: {result:?}");
        // One is never taken for the other.
        let result = session.read(&mut context(&mut blobs), by, remove.as_ref());
        assert_eq!(result.map_err(|fault| fault.kind), Err(FaultKind::Denied));
        let result = session.prepare(&mut context(&mut blobs), by, read.as_ref());
        assert_eq!(result.map(drop).map_err(|fault| fault.kind), Err(FaultKind::Denied));
    }
}
