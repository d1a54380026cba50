//! One target's files: how they are opened, and what a rehearsal has pending.

use countersign_capability::{Context, Opening, Phase, Prepared, Session};
use countersign_model::{Ability, Fault, FaultKind, Image, State};

use crate::call::FilesCall;
use crate::change::FilesChange;
use crate::guarded::Guarded;
use crate::handle::Opener;
use crate::overlay::Overlay;
use crate::scope::Scope;
use crate::{Files, able, apply, change, read, restore, revert, undo};

/// A session of the `files` capability.
pub struct FilesSession {
    pub(crate) opener: Opener,
    pub(crate) overlay: Overlay,
    phase: Phase,
}

impl FilesSession {
    pub(crate) fn open(opening: &Opening<'_>) -> Result<Self, Fault> {
        let none = opening.settings.is_null() || opening.settings.as_object().is_some_and(|table| table.is_empty());
        if !none {
            return Err(Fault::new(FaultKind::Invalid, "the capability `files` has no settings"));
        }
        let opener = Opener::new(Guarded::look_up(opening.protected)?);
        Ok(Self { opener, overlay: Overlay::default(), phase: opening.phase })
    }

    fn only(&self, phases: &[Phase], what: &str) -> Result<(), Fault> {
        if phases.contains(&self.phase) {
            return Ok(());
        }
        let name = match self.phase {
            Phase::Observe => "that only looks",
            Phase::Rehearse => "of a rehearsal",
            Phase::Preflight => "that only asks what it may",
            Phase::Live => "of a run",
        };
        Err(Fault::new(FaultKind::Denied, format!("a change cannot be {what} in a session {name}")))
    }
}

impl Session<Files> for FilesSession {
    fn read(&mut self, cx: &mut Context<'_>, scope: &Scope, call: FilesCall) -> Result<Vec<u8>, Fault> {
        read::perform(self, cx, scope, &call)
    }

    fn prepare(
        &mut self,
        cx: &mut Context<'_>,
        scope: &Scope,
        call: FilesCall,
    ) -> Result<Prepared<FilesChange>, Fault> {
        self.only(&[Phase::Rehearse, Phase::Live], "prepared")?;
        change::prepare(self, cx, scope, call)
    }

    fn rehearse(&mut self, cx: &mut Context<'_>, change: &FilesChange) -> Result<Vec<u8>, Fault> {
        self.only(&[Phase::Rehearse], "rehearsed")?;
        change::rehearse(self, cx, change)?;
        read::encode(&())
    }

    fn rehearse_undo(&mut self, _: &mut Context<'_>, change: &FilesChange) -> Result<(), Fault> {
        self.only(&[Phase::Rehearse], "rehearsed")?;
        change::rehearse_undo(self, change)
    }

    fn apply(&mut self, cx: &mut Context<'_>, change: &FilesChange) -> Result<Vec<u8>, Fault> {
        self.only(&[Phase::Live], "applied")?;
        apply::apply(self, cx, change)?;
        read::encode(&())
    }

    fn probe(&mut self, cx: &mut Context<'_>, change: &FilesChange) -> Result<State, Fault> {
        undo::probe(self, cx, change)
    }

    fn can_apply(&mut self, cx: &mut Context<'_>, change: &FilesChange) -> Result<Ability, Fault> {
        self.only(&[Phase::Preflight, Phase::Live], "asked about")?;
        able::can_apply(self, cx, change)
    }

    fn undo(&mut self, cx: &mut Context<'_>, change: &FilesChange) -> Result<(), Fault> {
        self.only(&[Phase::Live], "undone")?;
        undo::undo(self, cx, change)
    }

    fn settle(&mut self, cx: &mut Context<'_>, change: &FilesChange) -> Result<(), Fault> {
        self.only(&[Phase::Live], "settled")?;
        apply::settle(self, cx, change)
    }

    fn revert(
        &mut self,
        cx: &mut Context<'_>,
        scope: &Scope,
        change: &FilesChange,
    ) -> Result<Prepared<FilesChange>, Fault> {
        self.only(&[Phase::Rehearse, Phase::Live], "reverted")?;
        revert::revert(self, cx, scope, change)
    }

    fn image(&mut self, cx: &mut Context<'_>, change: &FilesChange) -> Result<Option<Image>, Fault> {
        restore::image(self, cx, change)
    }

    fn restore(
        &mut self,
        cx: &mut Context<'_>,
        scope: &Scope,
        made: &[FilesChange],
    ) -> Result<Prepared<FilesChange>, Fault> {
        self.only(&[Phase::Live], "put back over what stands there")?;
        restore::restore(self, cx, scope, made)
    }
}
