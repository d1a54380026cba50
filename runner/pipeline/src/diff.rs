use countersign_capability::Blobs;
use countersign_model::{Change, Image};
use similar::TextDiff;

/// The most that is diffed of one change, in bytes on either side.
const MAX_SIDE: u64 = 512 * 1024;

/// A change's content before and after as a unified diff, where both are text; otherwise a line that
/// says how large they are. Empty where the change has no content. The text is the file's own: show
/// it escaped.
///
/// # Errors
/// A sentence fragment, when an image is missing or damaged: then nobody can be shown what they sign.
pub(crate) fn of_change(blobs: &mut dyn Blobs, change: &Change) -> Result<String, String> {
    let (before, after) = (change.before, change.after);
    if before.is_none() && after.is_none() {
        return Ok(String::new());
    }
    let size = |image: Option<Image>| image.map_or(0, |image| image.size);
    if size(before).max(size(after)) > MAX_SIDE {
        return Err(format!("`{}` is too large to show: over {MAX_SIDE} bytes", change.subject));
    }
    let old = text(blobs, before)?;
    let new = text(blobs, after)?;
    let (Some(old), Some(new)) = (old, new) else {
        return Ok(format!("binary content: {} bytes before, {} bytes after\n", size(before), size(after)));
    };
    Ok(TextDiff::from_lines(&old, &new)
        .unified_diff()
        .context_radius(3)
        .missing_newline_hint(true)
        .header(if before.is_some() { "before" } else { "(none)" }, if after.is_some() { "after" } else { "(none)" })
        .to_string())
}

/// The image's text; `None` where it is not text.
fn text(blobs: &mut dyn Blobs, image: Option<Image>) -> Result<Option<String>, String> {
    let Some(image) = image else { return Ok(Some(String::new())) };
    let bytes = blobs.get(&image.digest).map_err(|fault| fault.what)?;
    Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')))
}
