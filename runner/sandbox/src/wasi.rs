//! The inert WASI: what a step of an ordinary toolchain may import besides its capabilities.
//!
//! A language's runtime wants arguments, an environment, clocks, randomness, standard streams and a file system. It
//! finds all of them here, and nothing of the host in any of them: everything is answered from the step's own
//! `now`, `seed` and log, so a step has no more authority than with `countersign:step/host` alone.
//!
//! | asked for | answered with |
//! |---|---|
//! | arguments, environment, working directory | none |
//! | wall clock | the proposal's `now`, which does not advance |
//! | monotonic clock | how long the step has waited so far: a wait takes no time and moves the clock by its length |
//! | randomness | a sequence that the proposal's `seed` fixes; 16 MiB of it |
//! | standard output, errors | the step's log, line by line, cut and counted as its own log lines are |
//! | standard input | closed |
//! | terminals, directories, files | there are none: the resources have no values, so nothing can be asked of one |
//! | exit | ends the step, which then has failed |
//!
//! It is written here, by the interfaces' WIT, and not taken from wasmtime-wasi. There a timer waits in real time, in
//! a host call that no epoch and no fuel interrupts, so that a guest could hold the runner up; and it brings the
//! `async` half of wasmtime, a second runtime with its threads, and code for sockets and files into a runner that
//! must never use either.

mod clocks;
mod environment;
mod filesystem;
mod random;
mod streams;

use std::collections::BTreeSet;

use countersign_capability::{InertState, Linker, StepState};
use wasmtime::component::HasData;

#[allow(missing_docs, unreachable_pub, dead_code, reason = "generated; the documentation stands in the WIT")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "countersign:inert/inert",
        imports: { default: trappable },
        with: {
            "wasi:io/poll.pollable": super::clocks::Timer,
            "wasi:io/streams.input-stream": super::streams::Input,
            "wasi:io/streams.output-stream": super::streams::Output,
        },
    });
}
use bindings::wasi::{cli, clocks as clock, filesystem as fs, io, random as chance};
pub(crate) use environment::Exited;
pub(crate) use streams::finish;

/// The releases of WASI 0.2 whose names are taken, each by name; they differ by additions only.
const VERSIONS: [&str; 13] = [
    "0.2.0", "0.2.1", "0.2.2", "0.2.3", "0.2.4", "0.2.5", "0.2.6", "0.2.7", "0.2.8", "0.2.9", "0.2.10", "0.2.11",
    "0.2.12",
];

/// What people are told of a step that imports WASI.
pub const WASI_IS_INERT: &str =
    "inert: no arguments, environment, files, network, clock or randomness of the host; what it prints is logged";

/// What ordinary toolchains export beside the step's own function: a program's `main`. Nothing calls it.
const RUN: &str = "wasi:cli/run";

type Link = fn(&mut Linker) -> wasmtime::Result<()>;

macro_rules! linked {
    ($interface:path) => {{
        use $interface as interface;
        |linker| interface::add_to_linker::<_, ViaInert>(linker, |state| Inert(state))
    }};
}

/// Every interface that there is here.
const INTERFACES: [(&str, Link); 20] = [
    ("wasi:io/error", linked!(io::error)),
    ("wasi:io/poll", linked!(io::poll)),
    ("wasi:io/streams", linked!(io::streams)),
    ("wasi:cli/environment", linked!(cli::environment)),
    ("wasi:cli/exit", linked!(cli::exit)),
    ("wasi:cli/stdin", linked!(cli::stdin)),
    ("wasi:cli/stdout", linked!(cli::stdout)),
    ("wasi:cli/stderr", linked!(cli::stderr)),
    ("wasi:cli/terminal-input", linked!(cli::terminal_input)),
    ("wasi:cli/terminal-output", linked!(cli::terminal_output)),
    ("wasi:cli/terminal-stdin", linked!(cli::terminal_stdin)),
    ("wasi:cli/terminal-stdout", linked!(cli::terminal_stdout)),
    ("wasi:cli/terminal-stderr", linked!(cli::terminal_stderr)),
    ("wasi:clocks/monotonic-clock", linked!(clock::monotonic_clock)),
    ("wasi:clocks/wall-clock", linked!(clock::wall_clock)),
    ("wasi:random/random", linked!(chance::random)),
    ("wasi:random/insecure", linked!(chance::insecure)),
    ("wasi:random/insecure-seed", linked!(chance::insecure_seed)),
    ("wasi:filesystem/types", linked!(fs::types)),
    ("wasi:filesystem/preopens", linked!(fs::preopens)),
];

/// The exact names of the interfaces that a step may import.
pub(crate) fn names() -> impl Iterator<Item = String> {
    INTERFACES.iter().flat_map(|(stem, _)| VERSIONS.iter().map(move |version| format!("{stem}@{version}")))
}

/// Whether an export of this name is a program's `main`.
pub(crate) fn is_run(export: &str) -> bool {
    export.split_once('@').is_some_and(|(stem, version)| stem == RUN && VERSIONS.contains(&version))
}

/// Whether an import, whose exact name is known, is one of WASI's.
pub(crate) fn is_wasi(import: &str) -> bool {
    import.starts_with("wasi:")
}

/// Why a name of WASI's that is not among [`names`] is refused.
pub(crate) fn refusal(import: &str) -> String {
    let stem = import.split_once('@').map_or(import, |(stem, _)| stem);
    let package = stem.split_once('/').map_or(stem, |(package, _)| package);
    let (oldest, newest) =
        (VERSIONS.first().copied().unwrap_or_default(), VERSIONS.last().copied().unwrap_or_default());
    if matches!(package, "wasi:sockets" | "wasi:http") {
        "sockets and HTTP of WASI are never linked: a step reaches a network by the capability `http`".to_owned()
    } else if INTERFACES.iter().any(|(known, _)| *known == stem) {
        format!("there is `{stem}` of the releases {oldest} to {newest} only")
    } else {
        "of WASI there is only what a language's runtime needs, and all of it is inert".to_owned()
    }
}

/// Links the interfaces that these imports name, each once, and nothing else.
pub(crate) fn link(linker: &mut Linker, imports: &[String]) -> wasmtime::Result<()> {
    // Several releases of an interface are one to wasmtime.
    let wanted: BTreeSet<&str> =
        imports.iter().filter_map(|import| import.split_once('@')).map(|(stem, _)| stem).collect();
    for (stem, link) in INTERFACES {
        if wanted.contains(stem) {
            link(linker)?;
        }
    }
    Ok(())
}

/// The view of a store that the host functions of this WASI get.
struct Inert<'a>(&'a mut StepState);

/// Selects [`Inert`] as the view.
struct ViaInert;

impl HasData for ViaInert {
    type Data<'a> = Inert<'a>;
}

impl Inert<'_> {
    /// What the runtime left.
    fn own(&mut self) -> wasmtime::Result<&mut InertState> {
        self.0.inert.as_deref_mut().ok_or_else(|| wasmtime::Error::msg("WASI was linked to a step that imports none"))
    }
}

/// The answer of what can never be asked, since there is no value that one could ask.
fn nobody<T>() -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg("a resource that does not exist was used"))
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;

    use super::*;

    /// An interface that was linked cannot be linked again.
    fn linked_by(imports: &[&str]) -> Vec<&'static str> {
        let imports: Vec<_> = imports.iter().map(|import| (*import).to_owned()).collect();
        let mut linker = Linker::new(&Engine::default());
        link(&mut linker, &imports).expect("each once");
        // What only has types has nothing that could be linked twice.
        let types = ["wasi:io/error", "wasi:cli/terminal-input", "wasi:cli/terminal-output"];
        let functions = INTERFACES.into_iter().filter(|(stem, _)| !types.contains(stem));
        functions.filter(|(_, link)| link(&mut linker).is_err()).map(|(stem, _)| stem).collect()
    }

    #[test]
    fn only_what_is_imported_is_linked() {
        assert_eq!(linked_by(&["countersign:step/host@0.1.0"]), Vec::<&str>::new());
        let several = ["wasi:cli/stdin@0.2.6", "wasi:cli/stdin@0.2.0", "wasi:random/random@0.2.6"];
        assert_eq!(linked_by(&several), ["wasi:cli/stdin", "wasi:random/random"]);
    }

    #[test]
    fn the_names_are_those_of_the_wit() {
        let world = include_str!("../wit/inert.wit");
        let imports: Vec<_> =
            world.lines().filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(";")).collect();
        let newest = VERSIONS.last().expect("there are some");
        let ours: Vec<_> = INTERFACES.iter().map(|(stem, _)| format!("{stem}@{newest}")).collect();
        assert_eq!(imports, ours);
    }
}
