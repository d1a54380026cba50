use countersign_capability::Blobs;
use countersign_model::{Change, Image};
use similar::TextDiff;

/// The most that is diffed of one change, in bytes on either side.
const MAX_SIDE: u64 = 512 * 1024;

/// A change's content before and after as a unified diff; empty where the change has no content. Bytes
/// that are not UTF-8 stand as `\x{…}`. The text is the file's own: show it escaped.
///
/// # Errors
/// A sentence fragment, when an image is too large, missing or damaged: then nobody can be shown what they sign.
pub(crate) fn of_change(blobs: &mut dyn Blobs, change: &Change) -> Result<String, String> {
    let (before, after) = (change.before, change.after);
    if before.is_none() && after.is_none() {
        return Ok(String::new());
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
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{{{byte:02x}}}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
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
}
