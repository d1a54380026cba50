//! A witness by C2SP's `tlog-witness`, over HTTP: it knows one log's key, keeps the latest checkpoint that it cosigned, and
//! cosigns another one only where that goes on from it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding};
use countersign_proof::{Checkpoint, KeyKind, Request, VerifierKey, verify_consistency};
use ed25519_dalek::{Signer, SigningKey};

/// The largest request that it takes, in bytes.
const MAX: usize = 64 * 1024;
/// When it signs, in seconds since 1970-01-01 UTC.
pub(crate) const SIGNED_AT: u64 = 1_700_000_000;

pub(crate) struct Witness {
    /// Its submission prefix.
    pub(crate) url: String,
    /// Its key, as verifiers take it.
    pub(crate) key: String,
    inner: Arc<Inner>,
}

struct Inner {
    log: VerifierKey,
    key: SigningKey,
    verifier: VerifierKey,
    latest: Mutex<Option<Checkpoint>>,
}

impl Witness {
    /// Starts on a free port, knowing this log's key. It ends with the test's process.
    pub(crate) fn start(log: &str, seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let name = format!("witness.example/{seed}");
        let verifier = VerifierKey::new(&name, KeyKind::Cosignature, &key.verifying_key().to_bytes()).expect("a key");
        let log = VerifierKey::parse(log).expect("the log's key");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let text = verifier.to_text();
        let inner = Arc::new(Inner { log, key, verifier, latest: Mutex::new(None) });
        let served = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever breaks off is not answered.
                let _ = serve(&served, stream);
            }
        });
        Self { url, key: text, inner }
    }

    /// How many entries it cosigned last.
    pub(crate) fn size(&self) -> u64 {
        self.inner.latest.lock().expect("its state").as_ref().map_or(0, |latest| latest.size)
    }
}

fn serve(witness: &Inner, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length.min(MAX)];
    reader.read_exact(&mut body)?;
    let (status, kind, answer) = match first.starts_with("POST /add-checkpoint ") {
        true => witness.add(&body),
        false => (404, "text/plain", String::new()),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} it\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    )
}

impl Inner {
    fn add(&self, body: &[u8]) -> (u16, &'static str, String) {
        let plain = |status, what: &str| (status, "text/plain", what.to_owned());
        let Ok(request) = Request::parse(body) else { return plain(400, "no request") };
        let opened = match Checkpoint::open(&request.checkpoint, &self.log, &[]) {
            Ok(opened) => opened,
            Err(_) => return plain(403, "not signed by a log that is known here"),
        };
        let new = opened.checkpoint;
        if request.old > new.size {
            return plain(400, "the old size is larger");
        }
        let mut latest = self.latest.lock().expect("its state");
        let size = latest.as_ref().map_or(0, |latest| latest.size);
        let conflict = (409, "text/x.tlog.size", format!("{size}\n"));
        if request.old != size {
            return conflict;
        }
        if let Some(before) = latest.as_ref() {
            if before.size == new.size && before.root != new.root {
                return conflict;
            }
            if verify_consistency((before.size, &before.root), (new.size, &new.root), &request.proof).is_err() {
                return plain(422, "the proof does not hold");
            }
        }
        *latest = Some(new);
        (200, "text/plain", self.cosign(&opened.note.text))
    }

    fn cosign(&self, text: &str) -> String {
        let message = format!("cosignature/v1\ntime {SIGNED_AT}\n{text}");
        let signature = self.key.sign(message.as_bytes()).to_bytes();
        let line = [&self.verifier.id()[..], &SIGNED_AT.to_be_bytes(), &signature].concat();
        format!("\u{2014} {} {}\n", self.verifier.name(), Base64::encode_string(&line))
    }
}
