//! WIT imports become calls.

use countersign_capability::{Guest, Linker, ViaPort};
use countersign_model::Access;

use crate::ProcessCapability;
use crate::call::{Call, Named, Process, Signal, Which};

mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../../sdk/wit/step", "../../../sdk/wit/process"],
        inline: "
            package countersign:process-link;
            world link {
                import countersign:process/read@0.1.0;
                import countersign:process/write@0.1.0;
            }
        ",
        with: { "countersign:step/types@0.1.0": countersign_capability::step::types },
        imports: { default: trappable },
        additional_derives: [serde::Serialize, serde::Deserialize, Clone, PartialEq],
    });
}

use bindings::countersign::process::{read, types, write};
use countersign_capability::step::types::Error;

/// What linking comes to; wasmtime is named in this file only.
pub(crate) type Result<T> = wasmtime::Result<T>;

pub(crate) fn link(linker: &mut Linker, access: Access) -> Result<()> {
    match access {
        Access::Read => read::add_to_linker::<_, ViaPort>(linker, |state| state.guest()),
        Access::Write => write::add_to_linker::<_, ViaPort>(linker, |state| state.guest()),
    }
}

impl types::Host for Guest<'_> {}

impl read::Host for Guest<'_> {
    fn list(&mut self, executable: String) -> Result<std::result::Result<Vec<types::Process>, Error>> {
        let reply = self.ask::<ProcessCapability, Vec<Process>>(&Call::List { executable })?;
        Ok(reply.map(|found| found.into_iter().map(process).collect()))
    }

    fn inspect(
        &mut self,
        executable: String,
        selector: types::Selector,
    ) -> Result<std::result::Result<types::Process, Error>> {
        let call = Call::Inspect(Named { executable, which: which(selector) });
        Ok(self.ask::<ProcessCapability, Process>(&call)?.map(process))
    }
}

impl write::Host for Guest<'_> {
    fn signal(
        &mut self,
        executable: String,
        selector: types::Selector,
        signal: types::Signal,
    ) -> Result<std::result::Result<(), Error>> {
        let signal = match signal {
            types::Signal::Hup => Signal::Hup,
            types::Signal::Int => Signal::Int,
            types::Signal::Quit => Signal::Quit,
            types::Signal::Usr1 => Signal::Usr1,
            types::Signal::Usr2 => Signal::Usr2,
            types::Signal::Term => Signal::Term,
            types::Signal::Kill => Signal::Kill,
            types::Signal::Winch => Signal::Winch,
        };
        let process = Named { executable, which: which(selector) };
        self.ask::<ProcessCapability, ()>(&Call::Signal { process, signal })
    }
}

fn which(selector: types::Selector) -> Which {
    match selector {
        types::Selector::PidFile(path) => Which::PidFile(path),
        types::Selector::Started(ticks) => Which::Started(ticks),
    }
}

fn process(found: Process) -> types::Process {
    let Process { pid, started, executable, parent, user, state, memory, threads } = found;
    types::Process { pid, started, executable, parent, user, state, memory, threads }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use countersign_capability::{LogLine, Port, StepContext, StepState};
    use countersign_model::{Fault, FaultKind, Reply, Stop};
    use wasmtime::component::Component;
    use wasmtime::{Engine, Store, StoreLimits};

    use super::*;

    /// Sends USR1 to the process of `/n` that started at 5, and gives 0, or the error's kind over 1,000,000.
    const GUEST: &str = r#"
            (component
                (import "countersign:step/types@0.1.0" (instance $step
                    (type $k (enum "denied" "not-found" "exists" "invalid" "too-large" "unsupported" "changed"
                        "unknowable" "unreachable" "timed-out" "other"))
                    (export "error-kind" (type $kind (eq $k)))
                    (type $e (record (field "kind" $kind) (field "message" string) (field "reached" bool)))
                    (export "error" (type $error (eq $e)))))
                (alias export $step "error" (type $error))
                (import "countersign:process/types@0.1.0" (instance $types
                    (type $s (variant (case "pid-file" string) (case "started" u64)))
                    (export "selector" (type $selector (eq $s)))
                    (type $n (enum "hup" "int" "quit" "usr1" "usr2" "term" "kill" "winch"))
                    (export "signal" (type $signal (eq $n)))))
                (alias export $types "selector" (type $selector))
                (alias export $types "signal" (type $name))
                (import "countersign:process/write@0.1.0" (instance $write
                    (alias outer 1 $selector (type $s)) (export "selector" (type $selector (eq $s)))
                    (alias outer 1 $name (type $n)) (export "signal-name" (type $name (eq $n)))
                    (alias outer 1 $error (type $e)) (export "error" (type $error (eq $e)))
                    (type $result (result (error $error)))
                    (export "signal" (func (param "executable" string) (param "process" $selector)
                        (param "signal" $name) (result $result)))))
                (core module $Libc
                    (memory (export "memory") 2)
                    (global $next (mut i32) (i32.const 4096))
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                        global.get $next
                        (global.set $next (i32.and
                            (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8)))))
                (core instance $libc (instantiate $Libc))
                (core func $signal (canon lower (func $write "signal")
                    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
                (core module $Main
                    (import "" "signal" (func $signal (param i32 i32 i32 i64 i32 i32 i32)))
                    (import "" "memory" (memory 1))
                    (data (i32.const 0) "/n")
                    (func (export "run") (result i32)
                        (call $signal (i32.const 0) (i32.const 2)
                            (i32.const 1) (i64.const 5) (i32.const 0) (i32.const 3) (i32.const 1024))
                        (if (result i32) (i32.load8_u (i32.const 1024))
                            (then (i32.add (i32.const 1000000) (i32.load8_u (i32.const 1028))))
                            (else (i32.const 0)))))
                (core instance $main (instantiate $Main (with "" (instance
                    (export "signal" (func $signal)) (export "memory" (memory $libc "memory"))))))
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
    fn a_guest_signals_or_gets_a_typed_error() {
        let (code, calls) = run(&[Access::Write], Reply::Value(Vec::new())).expect("a run");
        assert_eq!(code, 0);
        let process = Named { executable: "/n".to_owned(), which: Which::Started(5) };
        let expected = Call::Signal { process, signal: Signal::Usr1 };
        assert_eq!(calls.len(), 1);
        assert_eq!((calls[0].capability.as_str(), calls[0].function.as_str()), ("process", "signal"));
        assert_eq!(postcard::from_bytes(&calls[0].arguments), Ok(expected));

        let fault = Reply::Fault(Fault::new(FaultKind::Changed, "another"));
        assert_eq!(run(&[Access::Read, Access::Write], fault).expect("a run").0, 1_000_006);
    }

    #[test]
    fn what_is_not_linked_is_not_there() {
        assert!(run(&[], Reply::Value(Vec::new())).is_err());
        assert!(run(&[Access::Read], Reply::Value(Vec::new())).is_err());
    }
}
