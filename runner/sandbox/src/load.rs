use std::fs::File;

use wasmtime::component::Component;

use crate::admit::Outline;
use crate::engine::{CompileError, Compiled, Sandbox, one_line};

impl Sandbox {
    /// Maps native code that [`Sandbox::precompile`] made, and compares its imports with what was inspected. It opens nothing:
    /// the descriptor is enough. What is mapped stays until the process ends.
    ///
    /// Native code is as good as this process itself to whoever made it, and nothing but its maker says what it does.
    /// So it is loaded only by a process that holds nothing: a worker that was confined before. The file must be one that
    /// only this runner writes, and whole.
    ///
    /// # Errors
    /// When it is not code of this engine's settings and release, or asks for something else than was inspected.
    pub fn load(&self, code: &File, outline: Outline) -> Result<Compiled, CompileError> {
        let component = deserialize(&self.core.engine, code).map_err(CompileError::Load)?;
        self.compiled(component, outline)
    }
}

#[cfg(target_arch = "x86_64")]
fn deserialize(engine: &wasmtime::Engine, code: &File) -> Result<Component, String> {
    let memory = mapped::map(code).map_err(|error| error.to_string())?;
    #[expect(unsafe_code, reason = "loading native code cannot be safe; this is the one place that does")]
    // SAFETY: the memory is never unmapped, and the file behind it is one that a compiling worker of this runner wrote for
    // this runner alone and that is not written again, so it does not change. That the compiler itself was not taken over is
    // not known: what this code does is bounded by what this process may do.
    let component = unsafe { Component::deserialize_raw(engine, memory) };
    component.map_err(|error| one_line(&error))
}

/// A copy: what else a processor needs before it runs what was written as data is the engine's to know.
#[cfg(not(target_arch = "x86_64"))]
fn deserialize(engine: &wasmtime::Engine, code: &File) -> Result<Component, String> {
    use std::io::{Read as _, Seek as _};
    let (mut code, mut bytes) = (code, Vec::new());
    code.rewind().and_then(|()| code.read_to_end(&mut bytes)).map_err(|error| error.to_string())?;
    #[expect(unsafe_code, reason = "loading native code cannot be safe; this is the one place that does")]
    // SAFETY: a compiling worker of this runner wrote it for this runner alone. That the compiler itself was not taken over is
    // not known: what this code does is bounded by what this process may do.
    let component = unsafe { Component::deserialize(engine, &bytes) };
    component.map_err(|error| one_line(&error))
}

/// Code that is run from where its file is mapped. The engine itself does that for files that it opens by name only.
#[cfg(target_arch = "x86_64")]
pub(crate) mod mapped {
    #![expect(unsafe_code, reason = "memory is mapped and made executable by system calls")]

    use std::fs::File;
    use std::ptr::NonNull;

    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect};
    use wasmtime::CustomCodeMemory;

    /// The file, to be read only, from its beginning to its end.
    pub(super) fn map(file: &File) -> std::io::Result<NonNull<[u8]>> {
        let length = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
        // SAFETY: new memory, at a place that the kernel chooses.
        let start = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or_else(|| std::io::Error::other("it was mapped to nowhere"))?;
        Ok(NonNull::slice_from_raw_parts(start, length))
    }

    /// Makes code of such memory, where all the processor needs is leave to run it.
    pub(crate) struct Mapped {
        page: usize,
    }

    impl Mapped {
        /// Asks for the size of a page now: a process that loads code may be unable to.
        pub(crate) fn new() -> Self {
            Self { page: rustix::param::page_size() }
        }
    }

    impl CustomCodeMemory for Mapped {
        fn required_alignment(&self) -> usize {
            self.page
        }

        fn publish_executable(&self, start: *const u8, length: usize) -> wasmtime::Result<()> {
            protect(start, length, MprotectFlags::READ | MprotectFlags::EXEC)
        }

        fn unpublish_executable(&self, start: *const u8, length: usize) -> wasmtime::Result<()> {
            protect(start, length, MprotectFlags::READ)
        }
    }

    fn protect(start: *const u8, length: usize, as_what: MprotectFlags) -> wasmtime::Result<()> {
        // SAFETY: memory of the engine's, which it gives for this; nothing of it is written to meanwhile.
        unsafe { mprotect(start.cast_mut().cast(), length, as_what)? };
        Ok(())
    }
}
