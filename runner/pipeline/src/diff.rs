use std::io::{Read as _, SeekFrom};

use countersign_capability::Blobs;
use countersign_model::{Change, Image, Kept};
use similar::TextDiff;

/// The most that is diffed of one change, in bytes on either side.
const MAX_SIDE: u64 = 512 * 1024;

/// The most that is shown of a content's end that is taken away, in bytes and in lines.
const MAX_END: u64 = 8 * 1024;
const MAX_LINES: usize = 40;

/// A change's content before and after as a unified diff; empty where the content stays the same. Bytes
/// that are not UTF-8 stand as `\x{…}`. The text is the file's own: show it escaped.
///
/// Where only an end of the content goes, however large, it is named by size and digest and its last lines are shown.
///
/// # Errors
/// A sentence fragment, when an image is too large, missing or damaged: then nobody can be shown what they sign.
pub(crate) fn of_change(blobs: &mut dyn Blobs, change: &Change) -> Result<String, String> {
    let (before, after) = (change.before, change.after);
    if before == after {
        return Ok(String::new());
    }
    if let (Some(kept), Some(before)) = (change.kept, before) {
        return end(blobs, change, before, kept);
    }
    let size = |image: Option<Image>| image.map_or(0, |image| image.size);
    if size(before).max(size(after)) > MAX_SIDE {
        return Err(format!("`{}` is too large to show: over {MAX_SIDE} bytes", change.subject));
    }
    Ok(unified(
        &text(blobs, before)?,
        &text(blobs, after)?,
        if before.is_some() { "before" } else { "(none)" },
        if after.is_some() { "after" } else { "(none)" },
    ))
}

/// What goes or comes back, and its last lines, in the form of a unified diff.
fn end(blobs: &mut dyn Blobs, change: &Change, before: Image, kept: Kept) -> Result<String, String> {
    let after = change.after.unwrap_or_else(|| Image::of(&[]));
    // An end that an earlier run cut off may also come back.
    let (sign, verb) = if after.size > before.size { ('+', "come back") } else { ('-', "go") };
    let goes = before.size.abs_diff(after.size);
    let what = if kept.image.size == goes {
        "all of them are kept".to_owned()
    } else {
        format!("only the last {} are kept, and nothing brings back the others", kept.image.size)
    };
    let mut stream = blobs.open(&kept.image.digest).map_err(|fault| fault.what)?;
    let unread = |error: std::io::Error| format!("what is kept of `{}` cannot be read: {error}", change.subject);
    let from = kept.image.size.saturating_sub(MAX_END);
    stream.seek(SeekFrom::Start(from)).map_err(unread)?;
    let mut bytes = Vec::new();
    stream.take(MAX_END).read_to_end(&mut bytes).map_err(unread)?;
    let text = readable(&bytes);
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    // The first may lack its beginning.
    let mut whole = kept.image.size == goes && from == 0;
    if !whole && lines.len() > 1 {
        lines.remove(0);
    }
    if lines.len() > MAX_LINES {
        lines.drain(..lines.len() - MAX_LINES);
        whole = false;
    }
    let title = if whole { "these are" } else { "the last lines of them" };
    let mut shown = format!(
        "--- before ({} bytes)\n+++ after ({} bytes)\n@@ {goes} bytes {verb}; {what}, {}; {title}: @@\n",
        before.size, after.size, kept.image.digest
    );
    for line in &lines {
        shown.push(sign);
        shown.push_str(line);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        shown.push_str("\n\\ No newline at end of file\n");
    }
    Ok(shown)
}

/// Two contents of one subject as a unified diff; empty where they are the same.
///
/// # Errors
/// As for [`of_change`].
pub(crate) fn between(
    blobs: &mut dyn Blobs,
    old: Option<Image>,
    new: Option<Image>,
    names: (&str, &str),
) -> Result<String, String> {
    if old == new {
        return Ok(String::new());
    }
    if [old, new].into_iter().flatten().any(|image| image.size > MAX_SIDE) {
        return Err(format!("it is too large to show: over {MAX_SIDE} bytes"));
    }
    Ok(unified(&text(blobs, old)?, &text(blobs, new)?, names.0, names.1))
}

/// Lines end at line feeds and nowhere else: a lone carriage return must not make two lines of what is
/// escaped into one.
fn unified(old: &str, new: &str, old_name: &str, new_name: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    TextDiff::configure()
        .newline_terminated(true)
        .diff_slices(&old, &new)
        .unified_diff()
        .context_radius(3)
        .missing_newline_hint(true)
        .header(old_name, new_name)
        .to_string()
}

/// The image as text, whatever its bytes are.
fn text(blobs: &mut dyn Blobs, image: Option<Image>) -> Result<String, String> {
    let Some(image) = image else { return Ok(String::new()) };
    Ok(readable(&blobs.get(&image.digest).map_err(|fault| fault.what)?))
}

fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        // What only reads like such a byte is none.
        text.push_str(&chunk.valid().replace("\\x{", "\\x{5c}x{"));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{{{byte:02x}}}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use countersign_capability::Stream;
    use countersign_model::{Digest, Fault, FaultKind, Reversibility};

    use super::*;

    #[test]
    fn a_carriage_return_is_no_line() {
        let diff = unified("a\rb\r\nc\n", "a\revil\rb\r\nc\n", "before", "after");
        assert!(diff.contains("-a\rb\r\n") && diff.contains("+a\revil\rb\r\n"), "{diff:?}");
    }

    /// One odd byte must not hide the lines around it.
    #[test]
    fn bytes_that_are_no_text_hide_nothing() {
        let diff = unified(&readable(b"caf\xe9\n"), &readable(b"caf\xe9\n\0\nroot ALL\n"), "before", "after");
        assert!(diff.contains("+root ALL") && diff.contains(" caf\\x{e9}"), "{diff:?}");
    }

    #[test]
    fn a_missing_last_line_feed_is_said() {
        let diff = unified("a\n", "a", "before", "after");
        assert!(diff.contains("No newline at end of file"), "{diff:?}");
    }

    /// One content under its digest.
    struct Memory(Vec<u8>);

    impl Blobs for Memory {
        fn put(&mut self, _: &[u8]) -> Result<Digest, Fault> {
            Err(Fault::new(FaultKind::Denied, "nothing is put"))
        }

        fn get(&mut self, _: &Digest) -> Result<Vec<u8>, Fault> {
            Err(Fault::new(FaultKind::Denied, "nothing is held in memory"))
        }

        fn put_from(&mut self, _: u64, _: &mut dyn std::io::Read) -> Result<Image, Fault> {
            Err(Fault::new(FaultKind::Denied, "nothing is put"))
        }

        fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
            assert_eq!(*digest, Digest::of(&self.0));
            Ok(Box::new(std::io::Cursor::new(self.0.clone())))
        }
    }

    fn change(before: u64, after: u64, kept: &[u8]) -> Change {
        let image = |name: &[u8], size| Image { size, ..Image::of(name) };
        Change {
            capability: "files".to_owned(),
            format: 1,
            subject: "/var/log/x".to_owned(),
            reversibility: Reversibility::Exact,
            summary: "truncate".to_owned(),
            before: Some(image(b"before", before)),
            after: Some(image(b"after", after)),
            kept: Some(Kept { from: before - kept.len() as u64, image: Image::of(kept) }),
            effect: serde_json::Value::Null,
            withheld: false,
            body: serde_json::Value::Null,
        }
    }

    #[test]
    fn of_a_short_end_everything_is_shown() {
        let kept = b"two\r\nth\xffree";
        let shown = of_change(&mut Memory(kept.to_vec()), &change(104, 93, kept)).expect("shown");
        let digest = Digest::of(kept);
        assert_eq!(
            shown,
            format!(
                "--- before (104 bytes)\n+++ after (93 bytes)\n@@ 11 bytes go; all of them are kept, {digest}; \
                 these are: @@\n-two\r\n-th\\x{{ff}}ree\n\\ No newline at end of file\n"
            )
        );
    }

    #[test]
    fn of_a_long_end_the_last_lines_are_shown_and_no_more() {
        let lines: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
        let change = change(1 << 40, 0, lines.as_bytes());
        let shown = of_change(&mut Memory(lines.clone().into_bytes()), &change).expect("shown");
        assert!(shown.contains("1099511627776 bytes go; only the last 1088890 are kept, and nothing brings back"));
        assert!(shown.contains("the last lines of them: @@\n-line 99960\n"), "{shown}");
        assert!(shown.ends_with("-line 99999\n") && shown.lines().count() == 3 + MAX_LINES, "{shown}");
        // What comes back is shown as that.
        let back = Change { before: change.after, after: change.before, ..change.clone() };
        let back = of_change(&mut Memory(lines.clone().into_bytes()), &back).expect("shown");
        assert!(back.contains("bytes come back; ") && back.ends_with("+line 99999\n"), "{back}");
        // One line without an end, and a line that looks like a heading.
        let mut long = vec![b'x'; 3 * MAX_END as usize];
        let shown = of_change(&mut Memory(long.clone()), &super::tests::change(1 << 20, 0, &long)).expect("shown");
        assert!(shown.len() < MAX_END as usize + 400);
        long.extend_from_slice(b"\n@@ 0 bytes go @@\n");
        let shown = of_change(&mut Memory(long.clone()), &super::tests::change(1 << 20, 0, &long)).expect("shown");
        assert!(shown.ends_with("the last lines of them: @@\n-@@ 0 bytes go @@\n"), "{shown}");
    }

    #[test]
    fn a_whole_content_that_is_too_large_is_still_refused() {
        let change = Change { kept: None, ..change(MAX_SIDE + 1, 0, b"") };
        let why = of_change(&mut Memory(Vec::new()), &change).expect_err("too large");
        assert!(why.contains("too large to show"), "{why}");
        // Where only the mode changes, there is no content to be shown.
        let same = Change { after: change.before, ..change };
        assert_eq!(of_change(&mut Memory(Vec::new()), &same).as_deref(), Ok(""));
    }
}
