use countersign_capability::{LogSink, StepState};
use wasmtime::component::Resource;

use super::bindings::wasi::cli::{stderr, stdin, stdout};
use super::bindings::wasi::io::error::{self, Error};
use super::bindings::wasi::io::streams::{self, StreamError};
use super::clocks::Timer;
use super::{Inert, nobody};

/// Bytes that may be written at once after `check-write`, and by the functions that need none.
const PERMIT: u64 = 64 << 10;
const BLOCKING_PERMIT: u64 = 4096;

/// Standard input: closed from the beginning.
#[expect(unreachable_pub, reason = "the generated bindings name it again")]
pub struct Input;

/// Standard output or standard error: the representation tells which.
#[expect(unreachable_pub, reason = "the generated bindings name it again")]
pub struct Output;
const STDOUT: u32 = 0;
const STDERR: u32 = 1;

/// Sends on what a step printed without ending its line. To be called when the step has ended, however it did.
pub(crate) fn finish(state: &mut StepState) {
    for stream in [STDOUT, STDERR] {
        let begun = line(state, stream).is_some_and(|line| !line.is_empty());
        if begun {
            end_line(state, stream);
        }
    }
}

fn line(state: &mut StepState, stream: u32) -> Option<&mut Vec<u8>> {
    state.inert.as_mut()?.lines.get_mut(stream as usize)
}

fn end_line(state: &mut StepState, stream: u32) {
    let line = line(state, stream).map(std::mem::take).unwrap_or_default();
    let level = if stream == STDERR { "warn" } else { "info" };
    state.write_log(level, String::from_utf8_lossy(&line).into_owned());
}

impl Inert<'_> {
    /// Prints, line by line. More of a line than the log takes is not kept.
    fn print(
        &mut self,
        stream: &Resource<Output>,
        bytes: &[u8],
        permit: u64,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        permitted(bytes.len() as u64, permit)?;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            if let Some(line) = line(self.0, stream.rep()) {
                // A few bytes beyond, so that it is the log which cuts, at a character's end.
                let room = (LogSink::MAX_LINE + 4).saturating_sub(line.len());
                line.extend_from_slice(text.get(..room).unwrap_or(text));
            }
            if text.len() < part.len() {
                end_line(self.0, stream.rep());
            }
        }
        Ok(Ok(()))
    }

    fn print_zeroes(
        &mut self,
        stream: &Resource<Output>,
        count: u64,
        permit: u64,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        permitted(count, permit)?;
        self.print(stream, &vec![0; usize::try_from(count)?], permit)
    }
}

/// WASI has a write trap that was not permitted.
fn permitted(count: u64, permit: u64) -> wasmtime::Result<()> {
    if count <= permit {
        return Ok(());
    }
    Err(wasmtime::Error::msg(format!("the step writes {count} bytes at once, where {permit} are permitted")))
}

impl stdin::Host for Inert<'_> {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<Input>> {
        Ok(Resource::new_own(0))
    }
}

impl stdout::Host for Inert<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<Output>> {
        Ok(Resource::new_own(STDOUT))
    }
}

impl stderr::Host for Inert<'_> {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<Output>> {
        Ok(Resource::new_own(STDERR))
    }
}

impl error::Host for Inert<'_> {}

impl error::HostError for Inert<'_> {
    fn to_debug_string(&mut self, _: Resource<Error>) -> wasmtime::Result<String> {
        nobody()
    }

    fn drop(&mut self, _: Resource<Error>) -> wasmtime::Result<()> {
        nobody()
    }
}

impl streams::Host for Inert<'_> {}

impl streams::HostInputStream for Inert<'_> {
    fn read(&mut self, _: Resource<Input>, _: u64) -> wasmtime::Result<Result<Vec<u8>, StreamError>> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_read(&mut self, _: Resource<Input>, _: u64) -> wasmtime::Result<Result<Vec<u8>, StreamError>> {
        Ok(Err(StreamError::Closed))
    }

    fn skip(&mut self, _: Resource<Input>, _: u64) -> wasmtime::Result<Result<u64, StreamError>> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_skip(&mut self, _: Resource<Input>, _: u64) -> wasmtime::Result<Result<u64, StreamError>> {
        Ok(Err(StreamError::Closed))
    }

    fn subscribe(&mut self, _: Resource<Input>) -> wasmtime::Result<Resource<Timer>> {
        self.timer(0)
    }

    fn drop(&mut self, _: Resource<Input>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl streams::HostOutputStream for Inert<'_> {
    fn check_write(&mut self, _: Resource<Output>) -> wasmtime::Result<Result<u64, StreamError>> {
        Ok(Ok(PERMIT))
    }

    fn write(&mut self, stream: Resource<Output>, bytes: Vec<u8>) -> wasmtime::Result<Result<(), StreamError>> {
        self.print(&stream, &bytes, PERMIT)
    }

    fn blocking_write_and_flush(
        &mut self,
        stream: Resource<Output>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        self.print(&stream, &bytes, BLOCKING_PERMIT)
    }

    fn flush(&mut self, _: Resource<Output>) -> wasmtime::Result<Result<(), StreamError>> {
        Ok(Ok(()))
    }

    fn blocking_flush(&mut self, _: Resource<Output>) -> wasmtime::Result<Result<(), StreamError>> {
        Ok(Ok(()))
    }

    fn subscribe(&mut self, _: Resource<Output>) -> wasmtime::Result<Resource<Timer>> {
        self.timer(0)
    }

    fn write_zeroes(&mut self, stream: Resource<Output>, count: u64) -> wasmtime::Result<Result<(), StreamError>> {
        self.print_zeroes(&stream, count, PERMIT)
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<Output>,
        count: u64,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        self.print_zeroes(&stream, count, BLOCKING_PERMIT)
    }

    /// There is nothing to be had from the one input that there is.
    fn splice(
        &mut self,
        _: Resource<Output>,
        _: Resource<Input>,
        _: u64,
    ) -> wasmtime::Result<Result<u64, StreamError>> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_splice(
        &mut self,
        _: Resource<Output>,
        _: Resource<Input>,
        _: u64,
    ) -> wasmtime::Result<Result<u64, StreamError>> {
        Ok(Err(StreamError::Closed))
    }

    fn drop(&mut self, _: Resource<Output>) -> wasmtime::Result<()> {
        Ok(())
    }
}
