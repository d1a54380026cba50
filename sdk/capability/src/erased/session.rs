//! A session without its types.

use std::any::Any;

use countersign_model::text::excerpt;
use countersign_model::{Ability, Access, Change, Fault, FaultKind, Grant, Image, State};

use super::{AnyCall, Decoded, Entry, Permitting, Scopes};
use crate::capability::Capability;
use crate::session::{Context, Prepared, Session};

/// [`Session`] without its types.
pub trait AnySession: Send {
    /// [`Session::read`]; tests [`Capability::covers`] again.
    ///
    /// # Errors
    /// As there.
    fn read(&mut self, cx: &mut Context<'_>, by: Permitting<'_>, call: &dyn AnyCall) -> Result<Vec<u8>, Fault>;
    /// [`Session::prepare`]; tests [`Capability::covers`] and then [`Capability::reaches`] again.
    ///
    /// # Errors
    /// As there.
    fn prepare(&mut self, cx: &mut Context<'_>, by: Permitting<'_>, call: &dyn AnyCall) -> Result<Change, Fault>;
    /// [`Session::rehearse`].
    ///
    /// # Errors
    /// As there.
    fn rehearse(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault>;
    /// [`Session::rehearse_undo`].
    ///
    /// # Errors
    /// As there.
    fn rehearse_undo(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault>;
    /// [`Session::apply`].
    ///
    /// # Errors
    /// As there.
    fn apply(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault>;
    /// [`Session::probe`].
    ///
    /// # Errors
    /// As there.
    fn probe(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<State, Fault>;
    /// [`Session::can_apply`].
    ///
    /// # Errors
    /// As there.
    fn can_apply(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Ability, Fault>;
    /// [`Session::undo`].
    ///
    /// # Errors
    /// As there.
    fn undo(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault>;
    /// [`Session::settle`].
    ///
    /// # Errors
    /// As there.
    fn settle(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault>;
    /// [`Session::revert`]; tests before and after that the grant takes in the change's subject.
    ///
    /// # Errors
    /// As there.
    fn revert(&mut self, cx: &mut Context<'_>, grant: &Grant, change: &Change) -> Result<Change, Fault>;
    /// [`Session::image`].
    ///
    /// # Errors
    /// As there.
    fn image(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Option<Image>, Fault>;
    /// [`Session::restore`]; tests before and after that the grant takes in the changes' subject, which is one.
    ///
    /// # Errors
    /// As there.
    fn restore(&mut self, cx: &mut Context<'_>, grant: &Grant, made: &[Change]) -> Result<Change, Fault>;
}

pub(super) struct Opened<C: Capability>(pub(super) C::Session);

impl<C: Capability> Opened<C> {
    /// The scope by which the call is permitted, tested again, and the call.
    fn permitted<'a>(
        by: Permitting<'a>,
        call: &'a dyn AnyCall,
        access: Access,
    ) -> Result<(&'a C::Scope, &'a C::Call), Fault> {
        if call.access() != access {
            return Err(Fault::new(FaultKind::Denied, "a read was sent as a write, or a write as a read"));
        }
        let (scopes, call): (&dyn Any, &dyn Any) = (by.scopes, call);
        match (scopes.downcast_ref::<Scopes<C>>().and_then(|scopes| scopes.0.get(by.at)), call.downcast_ref()) {
            (Some((granted, scope)), Some(Decoded::<C> { typed, .. }))
                if *granted == access && C::covers(scope, typed) =>
            {
                Ok((scope, typed))
            }
            _ => Err(Fault::new(FaultKind::Denied, "the grant does not cover the call")),
        }
    }

    pub(super) fn change(change: &Change) -> Result<C::Change, Fault> {
        if change.capability != C::NAME || change.format != C::FORMAT {
            let what = format!("a change of {} format {} is not known here", change.capability, change.format);
            return Err(Fault::new(FaultKind::Unsupported, what));
        }
        serde_json::from_value(change.body.clone())
            .map_err(|error| Fault::new(FaultKind::Other, format!("a recorded change was not decoded: {error}")))
    }

    /// A grant's scope, where it lets one change the subject.
    fn taking_in(grant: &Grant, subject: &str) -> Result<C::Scope, Fault> {
        let scope = Entry::<C>::scope(grant)?;
        if grant.capability != C::NAME || grant.access != Access::Write || !C::reaches(&scope, subject) {
            return Err(uncovered(subject));
        }
        Ok(scope)
    }

    /// What puts a subject back, without its types, if it is of that subject.
    fn back(prepared: Prepared<C::Change>, scope: &C::Scope, subject: &str) -> Result<Change, Fault> {
        if prepared.subject != subject {
            let what = format!("what would put `{}` back names another subject", excerpt(subject, 200));
            return Err(Fault::new(FaultKind::Denied, what));
        }
        Self::recorded(prepared, scope)
    }

    /// What a session made ready, without its types. The call may have named one thing and the session have opened
    /// another.
    fn recorded(prepared: Prepared<C::Change>, scope: &C::Scope) -> Result<Change, Fault> {
        if !C::reaches(scope, &prepared.subject) {
            return Err(uncovered(&prepared.subject));
        }
        let body = serde_json::to_value(&prepared.change)
            .map_err(|error| Fault::new(FaultKind::Other, format!("a change was not encoded: {error}")))?;
        Ok(Change {
            capability: C::NAME.to_owned(),
            format: C::FORMAT,
            subject: prepared.subject,
            reversibility: prepared.reversibility,
            summary: prepared.summary,
            before: prepared.before,
            after: prepared.after,
            kept: prepared.kept,
            effect: prepared.effect,
            // What is sensitive is the target's affair, which a capability does not know.
            withheld: false,
            body,
        })
    }
}

fn uncovered(subject: &str) -> Fault {
    Fault::new(FaultKind::Denied, format!("the grant does not cover `{}`", excerpt(subject, 200)))
}

impl<C: Capability> AnySession for Opened<C> {
    fn read(&mut self, cx: &mut Context<'_>, by: Permitting<'_>, call: &dyn AnyCall) -> Result<Vec<u8>, Fault> {
        let (scope, typed) = Self::permitted(by, call, Access::Read)?;
        self.0.read(cx, scope, typed.clone())
    }

    fn prepare(&mut self, cx: &mut Context<'_>, by: Permitting<'_>, call: &dyn AnyCall) -> Result<Change, Fault> {
        let (scope, typed) = Self::permitted(by, call, Access::Write)?;
        let prepared = self.0.prepare(cx, scope, typed.clone())?;
        Self::recorded(prepared, scope)
    }

    fn rehearse(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault> {
        self.0.rehearse(cx, &Self::change(change)?)
    }

    fn rehearse_undo(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault> {
        self.0.rehearse_undo(cx, &Self::change(change)?)
    }

    fn apply(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault> {
        self.0.apply(cx, &Self::change(change)?)
    }

    fn probe(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<State, Fault> {
        self.0.probe(cx, &Self::change(change)?)
    }

    fn can_apply(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Ability, Fault> {
        self.0.can_apply(cx, &Self::change(change)?)
    }

    fn undo(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault> {
        self.0.undo(cx, &Self::change(change)?)
    }

    fn settle(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault> {
        self.0.settle(cx, &Self::change(change)?)
    }

    fn revert(&mut self, cx: &mut Context<'_>, grant: &Grant, change: &Change) -> Result<Change, Fault> {
        let typed = Self::change(change)?;
        let scope = Self::taking_in(grant, &change.subject)?;
        Self::back(self.0.revert(cx, &scope, &typed)?, &scope, &change.subject)
    }

    fn image(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Option<Image>, Fault> {
        self.0.image(cx, &Self::change(change)?)
    }

    fn restore(&mut self, cx: &mut Context<'_>, grant: &Grant, made: &[Change]) -> Result<Change, Fault> {
        let Some(first) = made.first() else {
            return Err(Fault::new(FaultKind::Invalid, "nothing was changed that could be put back"));
        };
        if made.iter().any(|change| change.subject != first.subject) {
            return Err(Fault::new(FaultKind::Invalid, "the changes to put back are of several subjects"));
        }
        let typed = made.iter().map(Self::change).collect::<Result<Vec<_>, _>>()?;
        let scope = Self::taking_in(grant, &first.subject)?;
        Self::back(self.0.restore(cx, &scope, &typed)?, &scope, &first.subject)
    }
}
