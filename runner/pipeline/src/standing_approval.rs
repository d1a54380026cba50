//! Standing approvals: signed once by people, from a proposal that they have seen, for many runs that nobody is asked about.

use std::collections::BTreeMap;

use countersign_bundle::Bundle;
use countersign_model::Digest;
use countersign_model::documents::{ArgumentRange, Budget, ProposalDocument, RoleGrants, StandingTerms, namespace};
use countersign_record::{HistoryOf, KeptStanding, NewStanding};
use countersign_trust::{
    Case, Contains, History, Policy, Proposal, Refusal, Reversal, Signatory, SignedDenial, SignedStanding, Standing,
    StandingDraft,
};
use serde_json::{Map, Value};

use crate::error::PipelineError;
use crate::order::{refused, within_ceilings};
use crate::propose::requested;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::{Target, containing};

/// The most standing approvals that one run is asked about, the newest of them.
const MAX_ASKED: usize = 16;
/// The most combinations of argument values whose grants are put together.
const MAX_COMBINATIONS: usize = 256;
/// The fewest digits that name a standing approval.
const MIN_NAME: usize = 6;

/// What an approver asks for beside what the example says.
pub struct StandingAsked<'a> {
    /// Why.
    pub reason: &'a str,
    /// The arguments that may be others than the example's.
    pub arguments: BTreeMap<String, ArgumentRange>,
    /// How much of it there may be.
    pub budget: Budget,
    /// For how long it is good, in milliseconds from now.
    pub valid_for: u64,
}

/// A standing approval as it stands now.
pub struct ListedStanding {
    /// Digest of its document.
    pub standing: Digest,
    /// What it says; none where it cannot be read.
    pub terms: Option<StandingTerms>,
    /// Who signed it and counts, each once.
    pub approvers: Vec<String>,
    /// Each of its targets, and why nothing would run there by it now, if so.
    pub targets: Vec<(String, Option<String>)>,
}

/// A standing approval with what is needed to judge by it.
pub(crate) struct Loaded {
    signed: SignedStanding,
    example: Proposal,
    denials: Vec<SignedDenial>,
    history: History,
}

impl Loaded {
    pub(crate) fn judged<'a>(&'a self, policy: &'a Policy, contains: Contains<'a>) -> Standing<'a> {
        Standing {
            signed: &self.signed,
            // What is at stake is what its budget lets be changed.
            example: Case { proposal: &self.example, policy, risk: Default::default(), contains },
            denials: &self.denials,
            history: self.history.clone(),
        }
    }
}

/// What a run's rehearsal found of the way back.
pub(crate) fn reversal(rehearsal: &countersign_model::documents::RehearsalDocument) -> Reversal {
    Reversal { restores: rehearsal.restores, rehearsed: rehearsal.rollback_rehearsed }
}

impl Runner {
    /// The standing approvals of a proposal's bundle and proposer, with what came of them on a target; and why the newest of
    /// those that cannot be judged by lets nothing run, if there is one. Such a one is in nobody's way: what people approved by
    /// itself needs none.
    pub(crate) fn standing_for(
        &self,
        document: &ProposalDocument,
        target: &str,
        now: u64,
    ) -> Result<(Vec<Loaded>, Option<Refusal>), PipelineError> {
        let proposer = self.policy().principal(&document.proposer);
        let kept = self.state().standing().of(&document.bundle, proposer.name())?;
        let (mut all, mut unread) = (Vec::new(), None);
        for kept in kept.into_iter().take(MAX_ASKED) {
            let standing = kept.digest.short();
            match self.loaded(kept, target, now) {
                Ok(loaded) => all.push(loaded),
                Err(error) => {
                    let why = error.to_string();
                    unread.get_or_insert(Refusal::NotUnattended { standing, why });
                }
            }
        }
        Ok((all, unread))
    }

    /// One by the digest of its document.
    pub(crate) fn standing_by(&self, digest: &Digest, target: &str, now: u64) -> Result<Option<Loaded>, PipelineError> {
        self.state().standing().get(digest)?.map(|kept| self.loaded(kept, target, now)).transpose()
    }

    fn loaded(&self, kept: KeptStanding, target: &str, now: u64) -> Result<Loaded, PipelineError> {
        let KeptStanding { digest, example, document, signatures } = kept;
        if Digest::of(&document) != digest {
            let what = format!("the standing approval {} was changed since it was signed", digest.short());
            return Err(
                PipelineError::refused(what).with_hint("nothing changed; restore the state directory from a backup")
            );
        }
        let terms =
            countersign_trust::read_standing(&document).map_err(|refusal| crate::order::refused_by(&refusal))?;
        let targets: Vec<&str> = terms.targets.iter().map(|target| target.name.as_str()).collect();
        let found = self.state().standing().history(HistoryOf {
            standing: &digest,
            bundle: &terms.bundle,
            agent: &terms.agent,
            target,
            targets: &targets,
            since: terms.not_before,
            now,
        })?;
        Ok(Loaded {
            signed: SignedStanding { document, signatures: signatures.into_iter().map(String::into_bytes).collect() },
            example: self.proposal(&example.to_string())?,
            denials: self.denials(&example)?,
            history: History {
                committed: found.committed,
                failed: found.failed,
                denied: found.denied,
                last_hour: found.last_hour,
                last_day: found.last_day,
            },
        })
    }

    /// Every standing approval, newest first, with where it stands.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn standing_approvals(&self) -> Result<Vec<ListedStanding>, PipelineError> {
        let now = self.decisive()?;
        let contains = containing(self.registry());
        let mut all = Vec::new();
        for kept in self.state().standing().list()? {
            let terms = countersign_trust::read_standing(&kept.document).ok();
            let mut listed =
                ListedStanding { standing: kept.digest, terms, approvers: Vec::new(), targets: Vec::new() };
            let names = listed.terms.iter().flat_map(|terms| terms.targets.iter().map(|target| target.name.clone()));
            for name in names.collect::<Vec<_>>() {
                let why = match self.loaded(kept.clone(), &name, now) {
                    Err(error) => Some(error.to_string()),
                    Ok(loaded) => {
                        let standing = loaded.judged(self.policy(), &contains);
                        listed.approvers = countersign_trust::standing_signers(&standing);
                        countersign_trust::standing_open(&standing, now).err().map(|refusal| refusal.to_string())
                    }
                };
                listed.targets.push((name, why));
            }
            all.push(listed);
        }
        Ok(all)
    }

    /// The document of a standing approval by the beginning of its digest, for another approver to sign as it stands.
    ///
    /// # Errors
    /// When none begins so, or several do.
    pub fn given_standing(&self, name: &str) -> Result<(Vec<u8>, Digest), PipelineError> {
        let sought = name.strip_prefix("sha256:").unwrap_or(name);
        let kept = self.state().standing().list()?.into_iter();
        let mut found = kept.filter(|kept| sought.len() >= MIN_NAME && kept.digest.hex().starts_with(sought));
        let shown = countersign_model::text::excerpt(name, 80);
        match (found.next(), found.next()) {
            (Some(kept), None) => Ok((kept.document, kept.example)),
            (None, _) => Err(PipelineError::failed(format!("no standing approval begins with `{shown}`"))
                .with_hint("`countersign standing list` lists them; at least 6 digits name one")),
            (Some(_), Some(_)) => {
                Err(PipelineError::failed(format!("several standing approvals begin with `{shown}`"))
                    .with_hint("give more digits; `countersign standing list` lists them"))
            }
        }
    }
}

/// Writes the standing approval that an approver signs, from a proposal as its example.
///
/// # Errors
/// When the trust policy allows no such thing, the example could not run unattended itself, a target was reconfigured since, or
/// what the bundle asks for with some argument goes beyond a ceiling.
pub fn draft_standing(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    asked: &StandingAsked<'_>,
) -> Result<Vec<u8>, PipelineError> {
    let now = runner.decisive()?;
    countersign_trust::unexpired(runner.policy(), now).map_err(|refusal| refused(&refusal, &stored.proposal))?;
    reversible(stored)?;
    crate::approve::as_configured(runner, stored, targets)?;
    let grants = grants(runner, &stored.bundle, &stored.proposal.document().arguments, &asked.arguments)?;
    for (_, target) in targets {
        within_ceilings(runner, target, &grants)?;
    }
    let contains = containing(runner.registry());
    let case = stored.case(runner.policy(), &contains);
    let draft = StandingDraft {
        reason: asked.reason.to_owned(),
        arguments: asked.arguments.clone(),
        grants,
        budget: asked.budget,
        not_before: now,
        expires: now.saturating_add(asked.valid_for),
        rollback_owner: crate::approve::owner(targets.iter().map(|(_, target)| target.rollback_owner.as_str())),
    };
    let (_, bytes) = countersign_trust::draft_standing(&case, draft)
        .map_err(|error| PipelineError::failed(format!("the standing approval: {error}")).with_hint(error.hint()))?;
    // What nothing would run by is not signed.
    countersign_trust::check_standing(&bytes, &case).map_err(|refusal| refused(&refusal, &stored.proposal))?;
    Ok(bytes)
}

/// Has a standing approval signed.
///
/// # Errors
/// When nothing was signed.
pub fn sign_standing(signatory: &dyn Signatory, document: &[u8]) -> Result<String, PipelineError> {
    crate::approve::signed(signatory, namespace::STANDING_APPROVAL, document)
}

/// Verifies a signature on a standing approval and keeps both; `stored` is its example. Gives who signed.
///
/// # Errors
/// When the signature does not verify or does not count, or nothing would ever run by it.
pub fn keep_standing(
    runner: &Runner,
    stored: &Stored,
    document: &[u8],
    signature: &str,
) -> Result<String, PipelineError> {
    let contains = containing(runner.registry());
    let case = stored.case(runner.policy(), &contains);
    let told = |refusal: Refusal| refused(&refusal, &stored.proposal);
    countersign_trust::unexpired(runner.policy(), runner.decisive()?).map_err(told)?;
    let who = countersign_trust::verify_standing(document, signature.as_bytes(), &case).map_err(told)?;
    let terms = countersign_trust::check_standing(document, &case).map_err(told)?;
    if !runner.denials(&stored.proposal.digest())?.is_empty() {
        return Err(PipelineError::refused("its example was denied")
            .with_hint("nothing was kept; have the agent propose it again, and sign it from that"));
    }
    let entry = crate::audit::standing_approval(runner, &stored.proposal.digest(), document, signature);
    let new = NewStanding {
        example: &stored.proposal.digest(),
        bundle: &terms.bundle,
        agent: &terms.agent,
        document,
        signature,
    };
    runner.state().standing().add(new, &[entry])?;
    Ok(who.name().to_owned())
}

/// Refuses an example that could not run unattended: all of it must come back, as was seen.
fn reversible(stored: &Stored) -> Result<(), PipelineError> {
    let restored = stored.rehearsals().all(|rehearsal| rehearsal.restores);
    if !stored.risk().irreversible && restored {
        return Ok(());
    }
    let why =
        if restored { "a change of its plan cannot be undone" } else { "its rehearsal did not restore every subject" };
    Err(PipelineError::refused(format!("it can never run unattended: {why}"))
        .with_hint("nothing was signed; have people approve each run of it"))
}

/// What the bundle asks for with any of these arguments, role by role.
fn grants(
    runner: &Runner,
    bundle: &Bundle,
    example: &Map<String, Value>,
    ranges: &BTreeMap<String, ArgumentRange>,
) -> Result<RoleGrants, PipelineError> {
    let mut combinations = vec![(example.clone(), example.clone())];
    for (name, range) in ranges {
        let values: Vec<(Value, Value)> = match range {
            ArgumentRange::OneOf(values) => values.iter().map(|value| (value.clone(), value.clone())).collect(),
            ArgumentRange::Within { from, to } => vec![(Value::from(*from), Value::from(*to))],
        };
        if combinations.len().saturating_mul(values.len()) > MAX_COMBINATIONS {
            return Err(PipelineError::failed(format!(
                "the arguments have more than {MAX_COMBINATIONS} combinations of values"
            ))
            .with_hint("nothing was signed; list fewer values, or sign several standing approvals"));
        }
        let with = |(least, most): &(Map<String, Value>, Map<String, Value>), (from, to): &(Value, Value)| {
            let put = |map: &Map<String, Value>, value: &Value| {
                let mut map = map.clone();
                map.insert(name.clone(), value.clone());
                map
            };
            (put(least, from), put(most, to))
        };
        combinations = combinations.iter().flat_map(|both| values.iter().map(move |value| with(both, value))).collect();
    }
    let mut all = RoleGrants::new();
    for (least, most) in combinations {
        for arguments in [&least, &most] {
            bundle.manifest().validate(arguments).map_err(|error| {
                PipelineError::failed(format!("the bundle does not take all of these arguments: {error}"))
                    .with_hint("nothing was signed; name only what it takes")
            })?;
        }
        let asked = requested(runner, bundle, &least)?;
        if asked != requested(runner, bundle, &most)? {
            return Err(PipelineError::failed(
                "an argument with a range of numbers stands in what the bundle asks for",
            )
            .with_hint("nothing was signed; list its values with `--one-of`"));
        }
        for (role, grants) in asked {
            let kept = all.entry(role).or_default();
            for grant in grants {
                if !kept.contains(&grant) {
                    kept.push(grant);
                }
            }
        }
    }
    Ok(all)
}
