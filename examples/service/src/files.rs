//! Files by which others find the process.

use std::path::{Path, PathBuf};

/// A file that is there, whole, for as long as this is.
pub struct Published(PathBuf);

impl Published {
    pub fn new(path: &Path, text: &str) -> Result<Self, String> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        // Written beside and renamed, so that nobody reads half of it.
        std::fs::write(&draft, text)
            .and_then(|()| std::fs::rename(&draft, path))
            .map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
