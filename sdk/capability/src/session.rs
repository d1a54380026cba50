use std::io::{Read, Seek};
use std::time::Instant;

use countersign_model::{Ability, Digest, Fault, FaultKind, Image, Kept, Reversibility, State};

use crate::capability::Capability;

/// Where the bytes of before- and after-images are kept, by digest. Private to the runner.
pub trait Blobs: Send {
    /// Keeps the bytes and gives their digest. In a run they are durable before the change is applied.
    ///
    /// # Errors
    /// When they cannot be kept; then the change must not be made.
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault>;

    /// The bytes of this digest, verified against it.
    ///
    /// # Errors
    /// When they are missing or damaged.
    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault>;

    /// Keeps the `size` bytes that `from` gives, without ever holding them in memory as a whole, and gives their
    /// image. They are as durable as those of [`Blobs::put`].
    ///
    /// # Errors
    /// When they cannot be kept, where possible before anything is read; `TimedOut` where the reader fails with
    /// that kind, `Changed` where it gives more or fewer bytes. Then the change must not be made.
    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault>;

    /// The bytes of this digest as a reader, at their beginning. They were verified against it, piece by piece.
    ///
    /// # Errors
    /// When they are missing or damaged.
    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault>;
}

/// Bytes that are read piece by piece, from any place in them.
pub trait Stream: Read + Seek + Send {}

impl<T: Read + Seek + Send> Stream for T {}

/// What a session gets with every request.
pub struct Context<'a> {
    /// Before- and after-images.
    pub blobs: &'a mut dyn Blobs,
    /// When the call must have ended.
    pub deadline: Instant,
}

/// A change made ready, with what the runner shows and compares; see [`countersign_model::Change`].
#[derive(Clone, Debug)]
pub struct Prepared<C> {
    /// What is changed, as scopes name it.
    pub subject: String,
    /// What undo is worth.
    pub reversibility: Reversibility,
    /// One line for a person.
    pub summary: String,
    /// The content before, put into the blobs unless `kept` is, or the content stays the same.
    pub before: Option<Image>,
    /// The content after, put into the blobs unless `kept` is, or the content stays the same.
    pub after: Option<Image>,
    /// The end in which the contents differ, put into the blobs where the whole contents are not.
    pub kept: Option<Kept>,
    /// Everything else that must be the same in rehearsal and run.
    pub effect: serde_json::Value,
    /// The capability's own record.
    pub change: C,
}

/// A capability's connections to one target, and its overlay in a rehearsal.
///
/// Synchronous: a call in flight is never abandoned, since undo must not race it. Every method
/// keeps to the context's deadline; what is stuck past it answers with a fault that has `reached` set.
///
/// No text of a fault, a state, a summary or an effect quotes a subject's content; where one content must be told
/// from another, they are named by their digests, as a [`Digest`] is displayed. The runner cuts these out for
/// subjects that the operator holds to be sensitive. A read's subject takes in all that the reply tells content of.
pub trait Session<C: Capability>: Send {
    /// Performs a read within `scope`, enforced again on handles. In a rehearsal it sees the overlay.
    ///
    /// # Errors
    /// A fault for the guest. The reply is the postcard encoding of the WIT function's result.
    fn read(&mut self, cx: &mut Context<'_>, scope: &C::Scope, call: C::Call) -> Result<Vec<u8>, Fault>;

    /// Makes a write ready: reads the before-image and decides the after-image. Changes nothing.
    ///
    /// # Errors
    /// A fault for the guest, also where the subject could not be restored exactly as promised.
    fn prepare(&mut self, cx: &mut Context<'_>, scope: &C::Scope, call: C::Call) -> Result<Prepared<C::Change>, Fault>;

    /// Applies the change to the overlay. The reply is as for [`Session::apply`].
    ///
    /// # Errors
    /// A fault for the guest.
    fn rehearse(&mut self, cx: &mut Context<'_>, change: &C::Change) -> Result<Vec<u8>, Fault>;

    /// Undoes the change on the overlay.
    ///
    /// # Errors
    /// When the overlay no longer holds the change's after-image.
    fn rehearse_undo(&mut self, cx: &mut Context<'_>, change: &C::Change) -> Result<(), Fault>;

    /// Applies the change to the target, durably, only if the subject still is as it was prepared.
    ///
    /// # Errors
    /// A fault whose `reached` tells whether the target may have changed.
    fn apply(&mut self, cx: &mut Context<'_>, change: &C::Change) -> Result<Vec<u8>, Fault>;

    /// Where the subject stands, read from the target (in a rehearsal, from the overlay over it).
    ///
    /// # Errors
    /// When the target cannot be read.
    fn probe(&mut self, cx: &mut Context<'_>, change: &C::Change) -> Result<State, Fault>;

    /// Whether the session's credentials could apply the change and undo it again, as the target stands: permissions, a
    /// file system that is read-only, a process that is not the runner's to signal. The change is one of a plan, prepared
    /// by another session, and may not be what this one would prepare. Writes nothing, takes no lock, and asks the target
    /// for nothing that it would act upon.
    ///
    /// Told is what the target itself says. Where only trying would tell, as where a server decides, the answer is
    /// [`Ability::CannotTell`]; where an earlier change of the plan may make it possible, too.
    ///
    /// # Errors
    /// When nobody could be asked, e.g. in time.
    fn can_apply(&mut self, _cx: &mut Context<'_>, _change: &C::Change) -> Result<Ability, Fault> {
        Ok(Ability::CannotTell(format!("`{}` changes can only be tried", C::NAME)))
    }

    /// Restores the before-image if the subject is as the change left it; does nothing if it is as
    /// before already. Safe to repeat.
    ///
    /// # Errors
    /// `Changed` when the subject is neither: somebody else's edit is never overwritten.
    fn undo(&mut self, cx: &mut Context<'_>, change: &C::Change) -> Result<(), Fault>;

    /// Lets go of what `apply` kept on the target to make undo sure, once the change is to stay or is
    /// undone and proven. Safe to repeat.
    ///
    /// # Errors
    /// When something could not be removed; it harms nothing but stays behind.
    fn settle(&mut self, cx: &mut Context<'_>, change: &C::Change) -> Result<(), Fault>;

    /// Makes ready what puts back a change of an earlier run, which was applied, stayed and was settled: a change from
    /// where that one left its subject to where it found it. Changes nothing. It is rehearsed, applied, probed and
    /// undone like any other.
    ///
    /// In a rehearsal it sees the overlay, so that several changes of one subject are reverted as a chain, the last
    /// one first. The image that it puts back is got from the blobs, and put into them again for the run that uses it.
    ///
    /// # Errors
    /// `Changed` where the subject is not as the change left it, with what it is instead: a later edit is never
    /// overwritten. `Unsupported` where nothing undoes the change, `NotFound` where its before-image is kept no longer.
    fn revert(
        &mut self,
        cx: &mut Context<'_>,
        scope: &C::Scope,
        change: &C::Change,
    ) -> Result<Prepared<C::Change>, Fault>;

    /// The content that a change's subject has on the target now, whatever the change made of it; none where it has no
    /// content or is not there.
    ///
    /// # Errors
    /// `Unknowable` where nobody can tell, `Unsupported` where something else stands there than has content.
    fn image(&mut self, _cx: &mut Context<'_>, _change: &C::Change) -> Result<Option<Image>, Fault> {
        Err(Fault::new(FaultKind::Unknowable, "nobody can tell how it is now"))
    }

    /// Makes ready the next change that puts a subject back to how the first of `made` found it, over whatever stands
    /// there now: a person said so. `made` are an earlier run's changes of this one subject, in order, at least one. The
    /// image of what stands there now is put into the blobs, and it is applied, probed and undone like any change. Where
    /// it takes several, this is asked again after each, until a probe of the first of `made` says `Before`.
    ///
    /// # Errors
    /// `Unsupported` where nothing puts it back, or not over what stands there now; `NotFound` where not all of what it
    /// was is kept.
    fn restore(
        &mut self,
        _cx: &mut Context<'_>,
        _scope: &C::Scope,
        _made: &[C::Change],
    ) -> Result<Prepared<C::Change>, Fault> {
        Err(Fault::new(FaultKind::Unsupported, "nothing puts it back"))
    }
}
