use wasmtime::component::Resource;

use super::bindings::wasi::cli::terminal_input::{self, TerminalInput};
use super::bindings::wasi::cli::terminal_output::{self, TerminalOutput};
use super::bindings::wasi::cli::{environment, exit, terminal_stderr, terminal_stdin, terminal_stdout};
use super::{Inert, nobody};

/// The step called `exit`, and with which code.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("exit with {0}")]
pub(crate) struct Exited(pub(crate) u8);

impl environment::Host for Inert<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl exit::Host for Inert<'_> {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Exited(u8::from(status.is_err()))))
    }

    fn exit_with_code(&mut self, code: u8) -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Exited(code)))
    }
}

impl terminal_input::Host for Inert<'_> {}

impl terminal_input::HostTerminalInput for Inert<'_> {
    fn drop(&mut self, _: Resource<TerminalInput>) -> wasmtime::Result<()> {
        nobody()
    }
}

impl terminal_output::Host for Inert<'_> {}

impl terminal_output::HostTerminalOutput for Inert<'_> {
    fn drop(&mut self, _: Resource<TerminalOutput>) -> wasmtime::Result<()> {
        nobody()
    }
}

impl terminal_stdin::Host for Inert<'_> {
    fn get_terminal_stdin(&mut self) -> wasmtime::Result<Option<Resource<TerminalInput>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for Inert<'_> {
    fn get_terminal_stdout(&mut self) -> wasmtime::Result<Option<Resource<TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for Inert<'_> {
    fn get_terminal_stderr(&mut self) -> wasmtime::Result<Option<Resource<TerminalOutput>>> {
        Ok(None)
    }
}
