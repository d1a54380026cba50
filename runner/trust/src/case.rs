//! One proposal under one trust policy: which rules take it in, who has a say, and how many must.

use std::collections::BTreeSet;

use countersign_model::Digest;
use countersign_model::documents::RoleGrants;
use countersign_model::text::excerpt;

use crate::demands::Demands;
use crate::grants::Contains;
use crate::manifest::{counts, is_not_own, same};
use crate::policy::{Policy, Quorum, Risk, Rule};
use crate::principal::{Activity, Principal};
use crate::proposal::Proposal;
use crate::refusal::Refusal;

/// A proposal, and what it is judged by.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// What is proposed.
    pub proposal: &'a Proposal,
    /// The trust policy in force.
    pub policy: &'a Policy,
    /// What its plans say of how much is at stake.
    pub risk: Risk,
    /// Compares scopes.
    pub contains: Contains<'a>,
}

/// The rules that take a proposal in, one at least for each of its targets, by name.
pub(crate) struct TakenIn<'a>(Vec<(&'a str, Vec<&'a Rule>)>);

impl<'a> Case<'a> {
    /// The rules by which it may be proposed on one of its targets, one at least.
    ///
    /// # Errors
    /// [`Refusal::NoRule`].
    pub fn rules(&self, target: &str) -> Result<Vec<&'a Rule>, Refusal> {
        let proposer = self.policy.principal(self.proposal.proposer().fingerprint());
        let asked = &self.proposal.document().grants;
        may(self.policy, Activity::Propose, &proposer, target, asked, self.contains)
    }

    /// Whether the policy lets it be proposed still: nothing of it is revoked, its proposer may, and on each target a
    /// rule takes it in.
    ///
    /// # Errors
    /// Why not.
    pub fn stands(&self) -> Result<(), Refusal> {
        self.taken_in().map(drop)
    }

    /// The same, with the rules that take it in, which are compared once for all signatures.
    pub(crate) fn taken_in(&self) -> Result<TakenIn<'a>, Refusal> {
        let (proposal, revocations) = (self.proposal, self.policy.revocations());
        revoked("proposal", &proposal.digest(), revocations.proposal(&proposal.digest()))?;
        let bundle = proposal.document().bundle;
        revoked("bundle", &bundle, revocations.bundle(&bundle))?;
        crate::proposal::may_propose(self.policy, proposal.proposer().fingerprint())?;
        self.rules_of_all()
    }

    /// The rules by which it may be proposed on each of its targets.
    fn rules_of_all(&self) -> Result<TakenIn<'a>, Refusal> {
        let targets = self.proposal.document().targets.iter();
        targets
            .map(|target| Ok((target.name.as_str(), self.rules(&target.name)?)))
            .collect::<Result<_, _>>()
            .map(TakenIn)
    }

    /// Whether what an approval grants stays inside the policy's ceilings for these targets.
    ///
    /// # Errors
    /// [`Refusal::AboveCeiling`].
    pub(crate) fn within_ceilings<'t>(
        &self,
        targets: impl Iterator<Item = &'t str>,
        grants: &RoleGrants,
    ) -> Result<(), Refusal> {
        for target in targets {
            for ceiling in self.policy.ceilings().iter().filter(|ceiling| ceiling.reaches(target)) {
                if let Some((grant, why)) = ceiling.exceeded(grants, self.contains) {
                    return Err(Refusal::AboveCeiling {
                        ceiling: ceiling.name().to_owned(),
                        target: excerpt(target, 80),
                        grant: grant.to_string(),
                        why,
                    });
                }
            }
        }
        Ok(())
    }

    /// The quorums that hold for it: all must be met.
    pub fn quorums(&self) -> impl Iterator<Item = &'a Quorum> {
        let (proposal, risk) = (self.proposal, self.risk);
        self.policy.quorums().iter().filter(move |quorum| quorum.holds(proposal, risk))
    }

    /// What a signature on an approval of it must show of how it was made: what the policy always demands, and what each
    /// quorum that holds does.
    #[must_use]
    pub fn demands(&self) -> Demands {
        let always = self.policy.demands();
        self.quorums().fold(always.clone(), |all, quorum| all.and(&quorum.demands(always)))
    }

    /// How many people must approve it, at least.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.quorums().map(Quorum::people).max().unwrap_or(usize::MAX)
    }

    /// Whether these people are enough; else the first quorum that they do not meet.
    ///
    /// # Errors
    /// [`Refusal::QuorumNotReached`].
    pub fn enough(&self, people: &BTreeSet<String>) -> Result<(), Refusal> {
        let mut any = false;
        for quorum in self.quorums() {
            any = true;
            let counted = quorum.counted(people, self.policy);
            if counted.len() < quorum.people() {
                return Err(Refusal::QuorumNotReached {
                    quorum: quorum.name().to_owned(),
                    wants: quorum.wants(),
                    approvers: counted.into_iter().map(str::to_owned).collect(),
                });
            }
        }
        // A policy has a quorum without condition; without any, nobody's word is enough.
        if any { Ok(()) } else { Err(Refusal::NotApproved { needed: self.needed() }) }
    }

    /// Whether this signer has a say in it: may approve it by a rule on each of its targets, and neither proposed it, nor
    /// answers for who did or enrolled them, nor proposed the run that it undoes.
    ///
    /// # Errors
    /// Why not.
    pub fn has_a_say(&self, signer: &Principal) -> Result<(), Refusal> {
        self.is_nobody_of_its_own(signer)?;
        self.lets_approve(signer, &self.rules_of_all()?)
    }

    /// The same where the rules are known.
    pub(crate) fn has_a_say_by(&self, signer: &Principal, taken: &TakenIn<'_>) -> Result<(), Refusal> {
        self.is_nobody_of_its_own(signer)?;
        self.lets_approve(signer, taken)
    }

    /// Whether a signer counts, and neither proposed it, nor answers for who did or enrolled them.
    fn is_nobody_of_its_own(&self, signer: &Principal) -> Result<(), Refusal> {
        counts(signer, &self.policy.principal(self.proposal.proposer().fingerprint()))?;
        self.did_not_propose_what_is_undone(signer)
    }

    /// Whether on each target a rule lets the signer approve it.
    fn lets_approve(&self, signer: &Principal, taken: &TakenIn<'_>) -> Result<(), Refusal> {
        for (target, rules) in &taken.0 {
            self.lets(rules, signer, target)?;
        }
        Ok(())
    }

    /// Whether one of these rules, which take something in on the target, has the signer among those who may approve it.
    ///
    /// # Errors
    /// [`Refusal::MayNotApproveThis`].
    pub(crate) fn lets(&self, rules: &[&Rule], signer: &Principal, target: &str) -> Result<(), Refusal> {
        let lets = |rule: &&Rule| rule.approvers().is_empty() || self.policy.is_in(signer.name(), rule.approvers());
        if rules.iter().any(lets) {
            return Ok(());
        }
        Err(Refusal::MayNotApproveThis {
            who: signer.to_string(),
            target: excerpt(target, 80),
            rules: rules.iter().map(|rule| rule.name().to_owned()).collect(),
        })
    }

    /// Refuses whoever proposed it, answers for who did or enrolled them, or proposed the run that it undoes.
    pub(crate) fn is_not_theirs(&self, signer: &Principal) -> Result<(), Refusal> {
        is_not_own(signer, &self.policy.principal(self.proposal.proposer().fingerprint()))?;
        self.did_not_propose_what_is_undone(signer)
    }

    fn did_not_propose_what_is_undone(&self, signer: &Principal) -> Result<(), Refusal> {
        if let Some(undoes) = &self.proposal.document().undoes {
            let ran = self.policy.principal(&undoes.proposer);
            if same(signer, &ran) {
                let why = format!("{ran} proposed the run `{}` that is to be undone", excerpt(&undoes.run, 40));
                return Err(Refusal::OwnProposal { approver: signer.to_string(), why });
            }
        }
        Ok(())
    }

    /// The people who have a say in it, by name.
    #[must_use]
    pub fn approvers(&self) -> Vec<&'a str> {
        let say = |name: &&str| self.policy.person(name).is_some_and(|person| self.has_a_say(&person).is_ok());
        self.policy.approvers().filter(say).collect()
    }
}

/// The rules by which somebody may do something on a target, one at least.
///
/// # Errors
/// [`Refusal::Revoked`], or [`Refusal::NoRule`] with the reason of the rule that came closest.
pub fn may<'p>(
    policy: &'p Policy,
    activity: Activity,
    who: &Principal,
    target: &str,
    asked: &RoleGrants,
    contains: Contains<'_>,
) -> Result<Vec<&'p Rule>, Refusal> {
    unrevoked(who)?;
    let mut all = Vec::new();
    let mut why = "no rule names them".to_owned();
    // How far a rule was from taking it in: the closest one's reason is told.
    let mut closest = 0;
    for rule in policy.rules().iter().filter(|rule| rule.names(who)) {
        let name = rule.name();
        let (reached, reason) = if !rule.reaches(target) {
            (1, format!("the rules that name them, such as `{name}`, are for other targets"))
        } else if !rule.lets(activity) {
            (2, format!("the rule `{name}` does not let them {}", activity.verb()))
        } else {
            match rule.takes_in(asked, contains) {
                Ok(()) => {
                    all.push(rule);
                    continue;
                }
                Err(why) => (3, format!("by the rule `{name}`, {why}")),
            }
        };
        if reached > closest {
            (closest, why) = (reached, reason);
        }
    }
    if all.is_empty() {
        let (who, target) = (who.to_string(), excerpt(target, 80));
        return Err(Refusal::NoRule { who, activity, target, why });
    }
    Ok(all)
}

/// Refuses whose key is revoked.
pub(crate) fn unrevoked(who: &Principal) -> Result<(), Refusal> {
    who.revoked().map_or(Ok(()), |reason| Err(Refusal::Revoked { what: who.to_string(), reason: excerpt(reason, 500) }))
}

/// Refuses a document that is revoked.
pub(crate) fn revoked(what: &str, digest: &Digest, reason: Option<&str>) -> Result<(), Refusal> {
    reason.map_or(Ok(()), |reason| {
        Err(Refusal::Revoked { what: format!("the {what} `{digest}`"), reason: excerpt(reason, 500) })
    })
}

#[cfg(test)]
mod tests;
