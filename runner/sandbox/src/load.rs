use std::fs::File;
use std::os::fd::AsRawFd;

use wasmtime::component::Component;

use crate::admit::Outline;
use crate::engine::{CompileError, Compiled, Sandbox, one_line};

impl Sandbox {
    /// Maps native code that [`Sandbox::precompile`] made, and compares its imports with what was inspected.
    ///
    /// Native code is as good as this process itself to whoever made it, and nothing but its maker says what it does.
    /// So it is loaded only by a process that holds nothing: a worker that was confined before. The file must be one that
    /// only this runner writes, and whole.
    ///
    /// # Errors
    /// When it is not code of this engine's settings and release, or asks for something else than was inspected.
    pub fn load(&self, code: &File, outline: Outline) -> Result<Compiled, CompileError> {
        // By descriptor, and so by no name that could lead elsewhere meanwhile.
        let path = format!("/proc/self/fd/{}", code.as_raw_fd());
        #[expect(unsafe_code, reason = "loading native code cannot be safe; this is the one place that does")]
        // SAFETY: the file is one that a compiling worker of this runner wrote for this runner alone, and is not written
        // again, so the mapping does not change. That the compiler itself was not taken over is not known: what this code
        // does is bounded by what this process may do.
        let component = unsafe { Component::deserialize_file(&self.core.engine, path) };
        self.compiled(component.map_err(|error| CompileError::Load(one_line(&error)))?, outline)
    }
}
