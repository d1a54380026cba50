//! Every function of every interface of the inert WASI, once.

use crate::bindings::wasi::cli::terminal_input::TerminalInput;
use crate::bindings::wasi::cli::terminal_output::TerminalOutput;
use crate::bindings::wasi::cli::{environment, exit, stderr, stdin, stdout};
use crate::bindings::wasi::cli::{terminal_stderr, terminal_stdin, terminal_stdout};
use crate::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use crate::bindings::wasi::filesystem::preopens;
use crate::bindings::wasi::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DirectoryEntryStream, NewTimestamp, OpenFlags, PathFlags,
    filesystem_error_code,
};
use crate::bindings::wasi::io::error::Error;
use crate::bindings::wasi::io::poll;
use crate::bindings::wasi::random::{insecure, insecure_seed, random};

/// A handle that nobody gave: no function gives one of these without taking one.
#[allow(unsafe_code, reason = "that is the attempt")]
mod forged {
    use super::*;
    pub fn file() -> Descriptor {
        unsafe { Descriptor::from_handle(1) }
    }
    pub fn entries() -> DirectoryEntryStream {
        unsafe { DirectoryEntryStream::from_handle(1) }
    }
    pub fn error() -> Error {
        unsafe { Error::from_handle(1) }
    }
    pub fn terminal_input() -> TerminalInput {
        unsafe { TerminalInput::from_handle(1) }
    }
    pub fn terminal_output() -> TerminalOutput {
        unsafe { TerminalOutput::from_handle(1) }
    }
}
use forged::file;

/// Calls the function of this name, as `interface#function`, and tells what came back.
pub fn call(name: &str) -> Option<String> {
    let (follow, read) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ);
    let etc = "/etc/passwd";
    macro_rules! show {
        ($value:expr) => {
            format!("{:?}", $value)
        };
    }
    Some(match name {
        "wasi:cli/environment#get-environment" => show!(environment::get_environment()),
        "wasi:cli/environment#get-arguments" => show!(environment::get_arguments()),
        "wasi:cli/environment#initial-cwd" => show!(environment::initial_cwd()),
        "wasi:cli/exit#exit" => show!(exit::exit(Ok(()))),
        "wasi:cli/exit#exit-with-code" => show!(exit::exit_with_code(7)),
        "wasi:cli/stdin#get-stdin" => show!(stdin::get_stdin().handle() > 0),
        "wasi:cli/stdout#get-stdout" => show!(stdout::get_stdout().handle() > 0),
        "wasi:cli/stderr#get-stderr" => show!(stderr::get_stderr().handle() > 0),
        "wasi:cli/terminal-stdin#get-terminal-stdin" => show!(terminal_stdin::get_terminal_stdin().is_some()),
        "wasi:cli/terminal-stdout#get-terminal-stdout" => show!(terminal_stdout::get_terminal_stdout().is_some()),
        "wasi:cli/terminal-stderr#get-terminal-stderr" => show!(terminal_stderr::get_terminal_stderr().is_some()),
        "wasi:clocks/wall-clock#now" => show!((wall_clock::now(), wall_clock::now())),
        "wasi:clocks/wall-clock#resolution" => show!(wall_clock::resolution()),
        "wasi:clocks/monotonic-clock#now" => show!((monotonic_clock::now(), monotonic_clock::now())),
        "wasi:clocks/monotonic-clock#resolution" => show!(monotonic_clock::resolution()),
        "wasi:clocks/monotonic-clock#subscribe-instant" => {
            show!((monotonic_clock::subscribe_instant(0).ready(), monotonic_clock::subscribe_instant(1).ready()))
        }
        "wasi:clocks/monotonic-clock#subscribe-duration" => {
            show!((monotonic_clock::subscribe_duration(0).ready(), monotonic_clock::subscribe_duration(1).ready()))
        }
        "wasi:random/random#get-random-bytes" => show!((random::get_random_bytes(5), random::get_random_bytes(40))),
        "wasi:random/random#get-random-u64" => show!((random::get_random_u64(), random::get_random_u64())),
        "wasi:random/insecure#get-insecure-random-bytes" => show!(insecure::get_insecure_random_bytes(5)),
        "wasi:random/insecure#get-insecure-random-u64" => show!(insecure::get_insecure_random_u64()),
        "wasi:random/insecure-seed#insecure-seed" => {
            show!((insecure_seed::insecure_seed(), insecure_seed::insecure_seed()))
        }
        "wasi:io/error#[method]error.to-debug-string" => forged::error().to_debug_string(),
        "wasi:io/poll#[method]pollable.ready" => show!(stdin::get_stdin().subscribe().ready()),
        "wasi:io/poll#[method]pollable.block" => {
            monotonic_clock::subscribe_duration(5_000_000_000).block();
            show!((monotonic_clock::now(), wall_clock::now()))
        }
        "wasi:io/poll#poll" => {
            let hour = monotonic_clock::subscribe_duration(3_600_000_000_000);
            let second = monotonic_clock::subscribe_duration(1_000_000_000);
            let ready = stdout::get_stdout().subscribe();
            let all = poll::poll(&[&hour, &second, &ready]);
            show!((all, monotonic_clock::now(), poll::poll(&[&hour, &second]), monotonic_clock::now()))
        }
        "wasi:io/streams#[method]input-stream.read" => show!(stdin::get_stdin().read(10)),
        "wasi:io/streams#[method]input-stream.blocking-read" => show!(stdin::get_stdin().blocking_read(10)),
        "wasi:io/streams#[method]input-stream.skip" => show!(stdin::get_stdin().skip(10)),
        "wasi:io/streams#[method]input-stream.blocking-skip" => show!(stdin::get_stdin().blocking_skip(10)),
        "wasi:io/streams#[method]input-stream.subscribe" => show!(stdin::get_stdin().subscribe().ready()),
        "wasi:io/streams#[method]output-stream.check-write" => show!(stdout::get_stdout().check_write()),
        "wasi:io/streams#[method]output-stream.write" => show!(stdout::get_stdout().write(b"a line\nand a half")),
        "wasi:io/streams#[method]output-stream.blocking-write-and-flush" => {
            show!(stderr::get_stderr().blocking_write_and_flush(b"an error\n"))
        }
        "wasi:io/streams#[method]output-stream.flush" => show!(stdout::get_stdout().flush()),
        "wasi:io/streams#[method]output-stream.blocking-flush" => show!(stdout::get_stdout().blocking_flush()),
        "wasi:io/streams#[method]output-stream.subscribe" => show!(stdout::get_stdout().subscribe().ready()),
        "wasi:io/streams#[method]output-stream.write-zeroes" => show!(stdout::get_stdout().write_zeroes(2)),
        "wasi:io/streams#[method]output-stream.blocking-write-zeroes-and-flush" => {
            show!(stderr::get_stderr().blocking_write_zeroes_and_flush(1))
        }
        "wasi:io/streams#[method]output-stream.splice" => {
            show!(stdout::get_stdout().splice(&stdin::get_stdin(), 10))
        }
        "wasi:io/streams#[method]output-stream.blocking-splice" => {
            show!(stdout::get_stdout().blocking_splice(&stdin::get_stdin(), 10))
        }
        "wasi:filesystem/preopens#get-directories" => show!(preopens::get_directories().len()),
        "wasi:filesystem/types#filesystem-error-code" => show!(filesystem_error_code(&forged::error())),
        "wasi:filesystem/types#[method]descriptor.read-via-stream" => show!(file().read_via_stream(0).is_ok()),
        "wasi:filesystem/types#[method]descriptor.write-via-stream" => show!(file().write_via_stream(0).is_ok()),
        "wasi:filesystem/types#[method]descriptor.append-via-stream" => show!(file().append_via_stream().is_ok()),
        "wasi:filesystem/types#[method]descriptor.advise" => show!(file().advise(0, 1, Advice::Normal)),
        "wasi:filesystem/types#[method]descriptor.sync-data" => show!(file().sync_data()),
        "wasi:filesystem/types#[method]descriptor.get-flags" => show!(file().get_flags()),
        "wasi:filesystem/types#[method]descriptor.get-type" => show!(file().get_type()),
        "wasi:filesystem/types#[method]descriptor.set-size" => show!(file().set_size(0)),
        "wasi:filesystem/types#[method]descriptor.set-times" => {
            show!(file().set_times(NewTimestamp::Now, NewTimestamp::Now))
        }
        "wasi:filesystem/types#[method]descriptor.read" => show!(file().read(10, 0)),
        "wasi:filesystem/types#[method]descriptor.write" => show!(file().write(b"x", 0)),
        "wasi:filesystem/types#[method]descriptor.read-directory" => show!(file().read_directory().is_ok()),
        "wasi:filesystem/types#[method]descriptor.sync" => show!(file().sync()),
        "wasi:filesystem/types#[method]descriptor.create-directory-at" => show!(file().create_directory_at("/x")),
        "wasi:filesystem/types#[method]descriptor.stat" => show!(file().stat()),
        "wasi:filesystem/types#[method]descriptor.stat-at" => show!(file().stat_at(follow, etc)),
        "wasi:filesystem/types#[method]descriptor.set-times-at" => {
            show!(file().set_times_at(follow, etc, NewTimestamp::Now, NewTimestamp::Now))
        }
        "wasi:filesystem/types#[method]descriptor.link-at" => show!(file().link_at(follow, etc, &file(), "x")),
        "wasi:filesystem/types#[method]descriptor.open-at" => {
            show!(file().open_at(follow, etc, OpenFlags::empty(), read).is_ok())
        }
        "wasi:filesystem/types#[method]descriptor.readlink-at" => show!(file().readlink_at(etc)),
        "wasi:filesystem/types#[method]descriptor.remove-directory-at" => show!(file().remove_directory_at(etc)),
        "wasi:filesystem/types#[method]descriptor.rename-at" => show!(file().rename_at(etc, &file(), "x")),
        "wasi:filesystem/types#[method]descriptor.symlink-at" => show!(file().symlink_at(etc, "x")),
        "wasi:filesystem/types#[method]descriptor.unlink-file-at" => show!(file().unlink_file_at(etc)),
        "wasi:filesystem/types#[method]descriptor.is-same-object" => show!(file().is_same_object(&file())),
        "wasi:filesystem/types#[method]descriptor.metadata-hash" => show!(file().metadata_hash()),
        "wasi:filesystem/types#[method]descriptor.metadata-hash-at" => show!(file().metadata_hash_at(follow, etc)),
        "wasi:filesystem/types#[method]directory-entry-stream.read-directory-entry" => {
            show!(forged::entries().read_directory_entry())
        }
        // Nor can one be given back that was never had.
        "drop a descriptor" => show!(drop(file())),
        "drop a directory-entry-stream" => show!(drop(forged::entries())),
        "drop an error" => show!(drop(forged::error())),
        "drop a terminal-input" => show!(drop(forged::terminal_input())),
        "drop a terminal-output" => show!(drop(forged::terminal_output())),
        _ => return None,
    })
}
