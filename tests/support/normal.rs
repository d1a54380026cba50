//! Outputs with everything that differs from run to run replaced by what stays the same, such that two things are
//! still told apart: the first run is always the same run, the second is another one.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// How a name or digest looks afterwards.
#[derive(Clone, Copy, PartialEq)]
pub enum Style {
    /// By its number, so that a mix-up meets the eye: `r-000000000002`.
    Counted,
    /// As it might be, so that pages look like life.
    Lifelike,
}

/// What was met so far, and what stands for it.
pub struct Normal {
    style: Style,
    /// Texts that are known to differ, longest first.
    known: Vec<(String, String)>,
    /// By sort, what was met in order.
    met: BTreeMap<String, Vec<String>>,
}

/// Names that the runner gives, by what they begin with; twelve hexadecimal digits follow.
const NAMES: [&str; 3] = ["p-", "r-", "ev-"];

/// What a key's fingerprint and an ed25519 public key begin with; 43 digits in base 64 follow.
const KEYS: [&str; 2] = ["SHA256:", "AAAAC3NzaC1lZDI1NTE5AAAAI"];

impl Normal {
    pub fn new(style: Style) -> Self {
        Self { style, known: Vec::new(), met: BTreeMap::new() }
    }

    /// Replaces a text wherever it stands.
    pub fn know(&mut self, text: impl Into<String>, by: impl Into<String>) {
        self.known.push((text.into(), by.into()));
        self.known.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    }

    /// The text as it always is.
    pub fn of(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.known {
            text = text.replace(from.as_str(), to);
        }
        let text = self.names(&text);
        let mut kept: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !is_cargo(line)).map(|line| self.moving(line)) {
            // How often the check had to be asked is the machine's affair; what it said in the end is not.
            let asked = |line: &str| line.trim_start().starts_with("check, asked");
            if asked(&line) && kept.last().is_some_and(|last| asked(last)) {
                kept.pop();
            }
            kept.push(line);
        }
        kept.join("\n")
    }

    /// What was met, in a text that names what stands for it.
    pub fn back(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let kinds = NAMES.map(|kind| (kind, Digits::Hex)).into_iter().chain(KEYS.map(|kind| (kind, Digits::Base64)));
        for (kind, digits) in kinds {
            for (at, name) in self.met.get(kind).into_iter().flatten().enumerate() {
                let stand_in = self.stand_in(kind, at + 1, name.len(), digits);
                text = text.replace(&format!("{kind}{stand_in}"), &format!("{kind}{name}"));
            }
        }
        text
    }

    /// Names, digests and fingerprints.
    fn names(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = ' ';
        while let Some(c) = rest.chars().next() {
            let (kind, digits, length) = match find(rest, before) {
                Some(found) => found,
                None => {
                    out.push(c);
                    before = c;
                    rest = &rest[c.len_utf8()..];
                    continue;
                }
            };
            let name = &rest[kind.len()..kind.len() + length];
            out.push_str(kind);
            let number = self.number(kind, name);
            out.push_str(&self.stand_in(kind, number, name.len(), digits));
            before = '0';
            rest = &rest[kind.len() + length..];
        }
        out
    }

    /// Which of its sort it is, from 1.
    fn number(&mut self, kind: &str, name: &str) -> usize {
        let met = self.met.entry(kind.to_owned()).or_default();
        // People tell a digest by its beginning.
        let known = met.iter().position(|known| known.starts_with(name) || name.starts_with(known.as_str()));
        known.unwrap_or_else(|| {
            met.push(name.to_owned());
            met.len() - 1
        }) + 1
    }

    fn stand_in(&self, kind: &str, number: usize, length: usize, digits: Digits) -> String {
        if self.style == Style::Counted {
            return format!("{number:0length$}");
        }
        let first = Sha256::digest(format!("{kind}{number}"));
        match digits {
            Digits::Hex => first.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..length].to_owned(),
            Digits::Base64 => {
                const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
                let second = Sha256::digest(first);
                let bytes = first.iter().chain(second.iter());
                bytes.map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).take(length).collect()
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Digits {
    Hex,
    Base64,
}

/// What stands at the beginning of the text, if it is a name: what it begins with, and the length of the rest.
fn find(text: &str, before: char) -> Option<(&str, Digits, usize)> {
    if before.is_ascii_alphanumeric() {
        return None;
    }
    let hex = |text: &str| text.bytes().take_while(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).count();
    let ended = |length: usize| !text[length..].starts_with(|c: char| c.is_ascii_alphanumeric());
    // A digest, what a kept file is named for, or a digest's beginning, by which people tell it.
    for length in [64, 32, 12] {
        if hex(text) == length && ended(length) {
            return Some(("", Digits::Hex, length));
        }
    }
    for kind in NAMES {
        if let Some(rest) = text.strip_prefix(kind)
            && hex(rest) == 12
            && ended(kind.len() + 12)
        {
            return Some((&text[..kind.len()], Digits::Hex, 12));
        }
    }
    let kind = KEYS.into_iter().find(|kind| text.starts_with(kind))?;
    let rest = &text[kind.len()..];
    let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).count();
    (length == 43).then(|| (&text[..kind.len()], Digits::Base64, 43))
}

/// What cargo tells while it builds.
fn is_cargo(line: &str) -> bool {
    const WORDS: [&str; 8] =
        ["Adding", "Blocking", "Compiling", "Downloaded", "Downloading", "Finished", "Locking", "Updating"];
    line.starts_with("  ") && line.split_whitespace().next().is_some_and(|word| WORDS.contains(&word))
}

/// Numbers that are the machine's, as far as it is known where they stand: what stands before and behind each, and
/// what stands for it on a page.
const NUMBERS: [(&str, &str, &str); 9] = [
    ("asked again (", ") after", "2"),
    (") after ", " ms", "254"),
    ("(asked ", " times", "40"),
    ("held for ", " ms", "1250"),
    ("uid:", "", "0"),
    ("\"uid\":", ",", "0"),
    ("\"uid\": ", ",", "0"),
    ("\"gid\":", ",", "0"),
    ("\"gid\": ", ",", "0"),
];

impl Normal {
    fn moving(&self, line: &str) -> String {
        let mut line = line.to_owned();
        let instead = |number: &'static str| if self.style == Style::Counted { "N" } else { number };
        // Whoever runs the tests.
        if let Some((before, rest)) = line.split_once("local user ")
            && let Some((_, after)) = rest.split_once(')')
        {
            line = format!("{before}local user root (uid 0){after}");
        }
        for (before, after, number) in NUMBERS {
            let mut from = 0;
            while let Some(at) = line[from..].find(before) {
                let start = from + at + before.len();
                let length = line[start..].bytes().take_while(u8::is_ascii_digit).count();
                if length > 0 && line[start + length..].starts_with(after) {
                    line.replace_range(start..start + length, instead(number));
                }
                from = start;
            }
        }
        // A component's size is the toolchain's, and stands behind its digest.
        if let Some((before, size)) = line.rsplit_once("  ")
            && size.strip_suffix(" bytes").is_some_and(|size| size.bytes().all(|b| b.is_ascii_digit()))
            && before.contains("sha256:")
        {
            line = format!("{before}  {} bytes", instead("67018"));
        }
        // So is what is packed: more than a page has.
        for before in ["\"bytes\": ", ".proposal, "] {
            if let Some(start) = line.find(before).map(|at| at + before.len()) {
                let length = line[start..].bytes().take_while(u8::is_ascii_digit).count();
                if length > 5 {
                    line.replace_range(start..start + length, instead("428032"));
                }
            }
        }
        // So is what a disk has, and with it what images take there.
        for before in ["free       ", "used       "] {
            if line.starts_with(before) && line.ends_with([')', 's']) {
                line = format!("{before}{} bytes", instead("1048576"));
            }
        }
        for before in ["\"free\": ", "\"used\": "] {
            if let Some((start, _)) = line.split_once(before).filter(|(_, number)| !number.starts_with('[')) {
                let comma = if line.ends_with(',') { "," } else { "" };
                line = format!("{start}{before}{}{comma}", instead("1048576"));
            }
        }
        let asked = format!("asked again ({}) after {} ms:", instead("2"), instead("254"));
        line.replace("asked at once:", &asked)
    }
}
