use countersign_model::{Access, Role};
use countersign_sandbox::LinkError;

use crate::support::{admitted, all, grants, inspected, registry, sandbox, step, trivial};

#[test]
fn links_what_is_granted_and_nothing_else() {
    let sandbox = sandbox();
    let wat = step(Role::Fix, &["get", "put"], r#"(func (export "run") (result i32) (i32.const 0))"#);
    let compiled = sandbox.compile(&admitted(&wat)).expect("compiled");
    assert!(sandbox.link(&compiled, &registry(), &all()).is_ok());
    let error = sandbox.link(&compiled, &registry(), &grants(&[Access::Read])).err().expect("refused");
    assert!(matches!(error, LinkError::NotGranted { access: Access::Write, .. }), "{error}");
    // A grant that nothing imports changes nothing.
    let compiled = sandbox.compile(&admitted(&trivial(Role::Fix))).expect("compiled");
    assert!(sandbox.link(&compiled, &registry(), &all()).is_ok());
}

#[test]
fn refuses_types_that_differ_from_the_contract() {
    let sandbox = sandbox();
    for (from, to, why) in [
        // Another result of the export.
        ("(result (result (error string)))", "(result (result (error u32)))", "the component's export `fix`"),
        // A function that the interface does not have.
        (r#"(export "get" (func (param"#, r#"(export "fetch" (func (param"#, "`fetch`"),
        // Another parameter.
        (r#"(param "key" string)"#, r#"(param "key" (list u16))"#, "`get`"),
    ] {
        let wat = step(Role::Fix, &["get"], r#"(func (export "run") (result i32) (i32.const 0))"#);
        let wat = wat.replace(from, to);
        let wat = if to.contains("fetch") { wat.replace(r#"$i-get "get""#, r#"$i-get "fetch""#) } else { wat };
        let compiled = sandbox.compile(&admitted(&wat)).expect("compiled");
        let error = sandbox.link(&compiled, &registry(), &all()).err().expect("refused").to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_component_that_another_sandbox_compiled_keeps_its_own_engine() {
    let compiled = sandbox().compile(&admitted(&trivial(Role::Fix))).expect("compiled");
    let linked = sandbox().link(&compiled, &registry(), &all()).expect("linked");
    // The first sandbox is gone; its clock is not.
    let ended = linked.run(crate::support::agreeable(), Default::default(), Default::default());
    assert!(ended.result.is_ok(), "{:?}", ended.result);
}

#[test]
fn types_need_no_linking_and_no_grant() {
    let types = r#"(component (import "countersign:probe/types@0.1.0" (instance
        (type $r (record (field "name" string))) (export "entry" (type (eq $r)))))"#;
    let wat = trivial(Role::Check).replacen("(component", types, 1);
    let admitted = inspected(&wat).admit(Role::Check, &Default::default()).expect("admitted");
    let sandbox = sandbox();
    let compiled = sandbox.compile(&admitted).expect("compiled");
    let linked = sandbox.link(&compiled, &registry(), &Default::default()).expect("linked");
    let ended = linked.run(crate::support::agreeable(), Default::default(), Default::default());
    assert!(ended.result.is_ok(), "{:?}", ended.result);
}
