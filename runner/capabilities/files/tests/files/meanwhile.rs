//! What somebody writes to a file while its end is put back.

use std::io::{Read, Write as _};
use std::time::{Duration, Instant};

use countersign_capability::{Blobs, Context, Session as _, Stream};
use countersign_files::FilesCall;
use countersign_model::{Digest, Fault, FaultKind, Image};

use crate::support::{Host, Memory, context, refused, scope};

/// A daemon that writes on while a large file is looked through is found out before the first byte goes there.
#[test]
fn who_appends_before_it_is_put_back_is_left_alone_with_it() {
    let mut host = Host::live();
    host.write("log", "one\ntwo\nthree\n");
    let change = host.truncate("log", 4).expect("prepared");
    host.apply(&change).expect("applied");
    let log = host.appender("log");
    let mut blobs = Interrupting::by_appending(&mut host.blobs, log, b"2\n");
    let mut cx = Context { blobs: &mut blobs, deadline: Instant::now() + Duration::from_secs(60) };
    refused(host.session.undo(&mut cx, &change), FaultKind::Changed, "has 6 bytes, not 4");
    assert_eq!(host.content("log"), "one\n2\n");

    // What puts an earlier run's end back looks once more, too.
    host.write("log", "one\n");
    let scope =
        scope(&FilesCall::Truncate { path: host.path("log"), length: 4 }, host.root.join("**").to_str().expect("text"));
    let reverted = host.session.revert(&mut context(&mut host.blobs), &scope, &change).expect("prepared").change;
    let log = host.appender("log");
    let mut blobs = Interrupting::by_appending(&mut host.blobs, log, b"2\n");
    let mut cx = Context { blobs: &mut blobs, deadline: Instant::now() + Duration::from_secs(60) };
    refused(host.session.apply(&mut cx, &reverted), FaultKind::Changed, "has 6 bytes, not 4");
    assert_eq!(host.content("log"), "one\n2\n");
}

/// Blobs that let something happen when one is first opened.
struct Interrupting<'a> {
    kept: &'a mut Memory,
    first: Option<Box<dyn FnOnce() + Send>>,
}

impl<'a> Interrupting<'a> {
    fn by_appending(blobs: &'a mut Memory, mut log: std::fs::File, line: &'static [u8]) -> Self {
        Self { kept: blobs, first: Some(Box::new(move || log.write_all(line).expect("appended"))) }
    }
}

impl Blobs for Interrupting<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        self.kept.put(bytes)
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        self.kept.get(digest)
    }

    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault> {
        self.kept.put_from(size, from)
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        if let Some(first) = self.first.take() {
            first();
        }
        self.kept.open(digest)
    }
}
