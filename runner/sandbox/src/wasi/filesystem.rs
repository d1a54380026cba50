//! There are no directories, so there are no files: no function gives a `descriptor` that does not take one. The type
//! has no values, nor has any other here; each function is written down only because the interface names it.

use wasmtime::component::Resource;

use super::bindings::wasi::filesystem::preopens;
use super::bindings::wasi::filesystem::types::{
    self, Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
    ErrorCode, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use super::bindings::wasi::io::error::Error;
use super::streams::{Input, Output};
use super::{Inert, nobody};

type File = Resource<Descriptor>;
type Answer<T> = wasmtime::Result<Result<T, ErrorCode>>;

impl preopens::Host for Inert<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(File, String)>> {
        Ok(Vec::new())
    }
}

impl types::Host for Inert<'_> {
    fn filesystem_error_code(&mut self, _: Resource<Error>) -> wasmtime::Result<Option<ErrorCode>> {
        nobody()
    }
}

impl types::HostDirectoryEntryStream for Inert<'_> {
    fn read_directory_entry(&mut self, _: Resource<DirectoryEntryStream>) -> Answer<Option<DirectoryEntry>> {
        nobody()
    }

    fn drop(&mut self, _: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        nobody()
    }
}

impl types::HostDescriptor for Inert<'_> {
    fn read_via_stream(&mut self, _: File, _: u64) -> Answer<Resource<Input>> {
        nobody()
    }

    fn write_via_stream(&mut self, _: File, _: u64) -> Answer<Resource<Output>> {
        nobody()
    }

    fn append_via_stream(&mut self, _: File) -> Answer<Resource<Output>> {
        nobody()
    }

    fn advise(&mut self, _: File, _: u64, _: u64, _: Advice) -> Answer<()> {
        nobody()
    }

    fn sync_data(&mut self, _: File) -> Answer<()> {
        nobody()
    }

    fn get_flags(&mut self, _: File) -> Answer<DescriptorFlags> {
        nobody()
    }

    fn get_type(&mut self, _: File) -> Answer<DescriptorType> {
        nobody()
    }

    fn set_size(&mut self, _: File, _: u64) -> Answer<()> {
        nobody()
    }

    fn set_times(&mut self, _: File, _: NewTimestamp, _: NewTimestamp) -> Answer<()> {
        nobody()
    }

    fn read(&mut self, _: File, _: u64, _: u64) -> Answer<(Vec<u8>, bool)> {
        nobody()
    }

    fn write(&mut self, _: File, _: Vec<u8>, _: u64) -> Answer<u64> {
        nobody()
    }

    fn read_directory(&mut self, _: File) -> Answer<Resource<DirectoryEntryStream>> {
        nobody()
    }

    fn sync(&mut self, _: File) -> Answer<()> {
        nobody()
    }

    fn create_directory_at(&mut self, _: File, _: String) -> Answer<()> {
        nobody()
    }

    fn stat(&mut self, _: File) -> Answer<DescriptorStat> {
        nobody()
    }

    fn stat_at(&mut self, _: File, _: PathFlags, _: String) -> Answer<DescriptorStat> {
        nobody()
    }

    fn set_times_at(&mut self, _: File, _: PathFlags, _: String, _: NewTimestamp, _: NewTimestamp) -> Answer<()> {
        nobody()
    }

    fn link_at(&mut self, _: File, _: PathFlags, _: String, _: File, _: String) -> Answer<()> {
        nobody()
    }

    fn open_at(&mut self, _: File, _: PathFlags, _: String, _: OpenFlags, _: DescriptorFlags) -> Answer<File> {
        nobody()
    }

    fn readlink_at(&mut self, _: File, _: String) -> Answer<String> {
        nobody()
    }

    fn remove_directory_at(&mut self, _: File, _: String) -> Answer<()> {
        nobody()
    }

    fn rename_at(&mut self, _: File, _: String, _: File, _: String) -> Answer<()> {
        nobody()
    }

    fn symlink_at(&mut self, _: File, _: String, _: String) -> Answer<()> {
        nobody()
    }

    fn unlink_file_at(&mut self, _: File, _: String) -> Answer<()> {
        nobody()
    }

    fn metadata_hash(&mut self, _: File) -> Answer<MetadataHashValue> {
        nobody()
    }

    fn metadata_hash_at(&mut self, _: File, _: PathFlags, _: String) -> Answer<MetadataHashValue> {
        nobody()
    }

    fn is_same_object(&mut self, _: File, _: File) -> wasmtime::Result<bool> {
        nobody()
    }

    fn drop(&mut self, _: File) -> wasmtime::Result<()> {
        nobody()
    }
}
