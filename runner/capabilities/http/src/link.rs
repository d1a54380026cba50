//! WIT imports become calls.

use countersign_capability::{Guest, Linker, ViaPort};
use countersign_model::Access;

use crate::Http;
use crate::call::{Call, Header, Request, Response};

mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../../sdk/wit/step", "../../../sdk/wit/http"],
        inline: "
            package countersign:http-link;
            world link {
                import countersign:http/read@0.1.0;
            }
        ",
        with: { "countersign:step/types@0.1.0": countersign_capability::step::types },
        imports: { default: trappable },
        additional_derives: [serde::Serialize, serde::Deserialize, Clone, PartialEq],
    });
}

use bindings::countersign::http::{read, types};
use countersign_capability::step::types::Error;

/// What linking comes to; wasmtime is named in this file only.
pub(crate) type Result<T> = wasmtime::Result<T>;

pub(crate) fn link(linker: &mut Linker, access: Access) -> Result<()> {
    match access {
        Access::Read => read::add_to_linker::<_, ViaPort>(linker, |state| state.guest()),
        Access::Write => Err(wasmtime::Error::msg("countersign:http has no write interface")),
    }
}

impl types::Host for Guest<'_> {}

impl read::Host for Guest<'_> {
    fn get(&mut self, url: String, headers: Vec<types::Header>) -> Result<std::result::Result<types::Response, Error>> {
        self.ask::<Http, Response>(&Call::Get(request(url, headers))).map(|reply| reply.map(response))
    }

    fn head(
        &mut self,
        url: String,
        headers: Vec<types::Header>,
    ) -> Result<std::result::Result<types::Response, Error>> {
        self.ask::<Http, Response>(&Call::Head(request(url, headers))).map(|reply| reply.map(response))
    }
}

fn request(url: String, headers: Vec<types::Header>) -> Request {
    let headers = headers.into_iter().map(|types::Header { name, value }| Header { name, value });
    Request { url, headers: headers.collect() }
}

fn response(Response { status, headers, body }: Response) -> types::Response {
    let headers = headers.into_iter().map(|Header { name, value }| types::Header { name, value });
    types::Response { status, headers: headers.collect(), body }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use countersign_capability::{LogLine, Port, StepContext, StepState};
    use countersign_model::{Fault, FaultKind, Reply, Stop};
    use wasmtime::component::Component;
    use wasmtime::{Engine, Store, StoreLimits};

    use super::*;

    /// Gets `http://h/` and gives status and body length, or the error's kind over 1,000,000.
    const GUEST: &str = r#"
            (component
                (import "countersign:step/types@0.1.0" (instance $step
                    (type $k (enum "denied" "not-found" "exists" "invalid" "too-large" "unsupported" "changed"
                        "unknowable" "unreachable" "timed-out" "other"))
                    (export "error-kind" (type $kind (eq $k)))
                    (type $e (record (field "kind" $kind) (field "message" string) (field "reached" bool)))
                    (export "error" (type $error (eq $e)))))
                (alias export $step "error" (type $error))
                (import "countersign:http/types@0.1.0" (instance $types
                    (type $h (record (field "name" string) (field "value" string)))
                    (export "header" (type $header (eq $h)))
                    (type $r (record
                        (field "status" u16) (field "headers" (list $header)) (field "body" (list u8))))
                    (export "response" (type $response (eq $r)))))
                (alias export $types "header" (type $header))
                (alias export $types "response" (type $response))
                (import "countersign:http/read@0.1.0" (instance $read
                    (alias outer 1 $header (type $h)) (export "header" (type $header (eq $h)))
                    (alias outer 1 $response (type $r)) (export "response" (type $response (eq $r)))
                    (alias outer 1 $error (type $e)) (export "error" (type $error (eq $e)))
                    (type $result (result $response (error $error)))
                    (export "get" (func (param "url" string) (param "headers" (list $header)) (result $result)))
                    (export "head" (func (param "url" string) (param "headers" (list $header)) (result $result)))))
                (core module $Libc
                    (memory (export "memory") 2)
                    (global $next (mut i32) (i32.const 4096))
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                        global.get $next
                        (global.set $next (i32.and
                            (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8)))))
                (core instance $libc (instantiate $Libc))
                (core func $get (canon lower (func $read "get")
                    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
                (core module $Main
                    (import "" "get" (func $get (param i32 i32 i32 i32 i32)))
                    (import "" "memory" (memory 1))
                    (data (i32.const 0) "http://h/")
                    (func (export "run") (result i32)
                        (call $get (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 1024))
                        (if (result i32) (i32.load8_u (i32.const 1024))
                            (then (i32.add (i32.const 1000000) (i32.load8_u (i32.const 1028))))
                            (else (i32.add
                                (i32.mul (i32.load16_u (i32.const 1028)) (i32.const 1000))
                                (i32.load (i32.const 1044)))))))
                (core instance $main (instantiate $Main (with "" (instance
                    (export "get" (func $get)) (export "memory" (memory $libc "memory"))))))
                (func (export "run") (result u32) (canon lift (core func $main "run"))))
        "#;

    /// Answers every call with the same reply and keeps the call.
    struct Canned(Reply, Arc<Mutex<Vec<countersign_model::Call>>>);

    impl Port for Canned {
        fn call(&mut self, call: countersign_model::Call) -> std::result::Result<Reply, Stop> {
            self.1.lock().expect("calls").push(call);
            Ok(self.0.clone())
        }

        fn log(&mut self, _: LogLine) {}
    }

    /// What the guest's `run` gives, and what it called.
    fn run(accesses: &[Access], reply: Reply) -> Result<(u32, Vec<countersign_model::Call>)> {
        let engine = Engine::default();
        let component = Component::new(&engine, wat::parse_str(GUEST)?)?;
        let mut linker = Linker::new(&engine);
        StepState::link_host(&mut linker)?;
        for access in accesses {
            link(&mut linker, *access)?;
        }
        let calls = Arc::default();
        let port = Box::new(Canned(reply, Arc::clone(&calls)));
        let state = StepState::new(port, StoreLimits::default(), StepContext::default());
        let mut store = Store::new(&engine, state);
        let instance = linker.instantiate(&mut store, &component)?;
        let run = instance.get_typed_func::<(), (u32,)>(&mut store, "run")?;
        let (code,) = run.call(&mut store, ())?;
        let calls = std::mem::take(&mut *calls.lock().expect("calls"));
        Ok((code, calls))
    }

    #[test]
    fn a_guest_gets_a_response_or_a_typed_error() {
        let response = Response { status: 200, headers: vec![], body: vec![7; 5] };
        let reply = Reply::Value(postcard::to_stdvec(&response).expect("a reply"));
        let (code, calls) = run(&[Access::Read], reply).expect("a run");
        assert_eq!(code, 200_005);
        let expected = Call::Get(Request { url: "http://h/".to_owned(), headers: vec![] });
        assert_eq!(calls.len(), 1);
        assert_eq!((calls[0].capability.as_str(), calls[0].function.as_str()), ("http", "get"));
        assert_eq!(postcard::from_bytes(&calls[0].arguments), Ok(expected));

        let fault = Reply::Fault(Fault::new(FaultKind::TooLarge, "too much"));
        assert_eq!(run(&[Access::Read], fault).expect("a run").0, 1_000_004);
    }

    #[test]
    fn what_is_not_linked_is_not_there() {
        let fault = Reply::Fault(Fault::new(FaultKind::Other, ""));
        assert!(run(&[], fault.clone()).is_err());
        assert!(run(&[Access::Write], fault).is_err());
    }
}
