//! The trust policy as it is written.

use std::collections::BTreeSet;

use countersign_model::{Digest, Grant};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{MAX_ORIGINS, MAX_PER_HOUR, MAX_SERIAL, MAX_USES, POLICY_VERSION};
use crate::pattern::Pattern;
use crate::principal::{Activity, Right};

/// Who may propose, approve and operate, and how far an approval may reach: signed by its roots.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The version of this format.
    #[schemars(range(min = POLICY_VERSION, max = POLICY_VERSION))]
    #[expect(dead_code, reason = "it is read on its own, before anything else")]
    version: u32,
    /// Which version of the policy this is: each one has a higher number than the one before it, and a runner that has
    /// accepted one never takes a lower one again.
    #[schemars(range(min = 1, max = MAX_SERIAL))]
    pub(super) serial: u64,
    /// When it was made, e.g. `2026-11-26T05:00:00Z`. No runner that accepted it believes a clock that is behind it.
    pub(super) issued: String,
    /// From when on nothing is proposed, approved or run by it, at most three years after `issued`.
    pub(super) expires: String,
    pub(super) roots: Roots,
    #[serde(default)]
    pub(super) keys: Keys,
    pub(super) approval: Approval,
    #[serde(default)]
    pub(super) proposals: Proposals,
    pub(super) unattended: Option<UnattendedBounds>,
    #[serde(default)]
    pub(super) investigations: Investigations,
    #[serde(default)]
    pub(super) runs: Runs,
    #[serde(default)]
    pub(super) people: Vec<Person>,
    #[serde(default)]
    pub(super) agents: Vec<Agent>,
    #[serde(default)]
    pub(super) rules: Vec<Rule>,
    #[serde(default)]
    pub(super) ceilings: Vec<Ceiling>,
    pub(super) quorums: Vec<Quorum>,
    #[serde(default, rename = "break-glass")]
    pub(super) break_glass: Vec<BreakGlass>,
    #[serde(default)]
    pub(super) freezes: Vec<Freeze>,
    #[serde(default)]
    pub(super) revocations: Vec<Revocation>,
}

/// The keys that decide on this policy. A new version is signed by as many of them as `threshold` says, and by as
/// many of its own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Roots {
    /// How many of the keys must sign: 1 to as many as there are.
    #[schemars(range(min = 1))]
    pub(super) threshold: u64,
    /// Public keys as OpenSSH writes them; no two of one person, and none of an agent.
    pub(super) keys: Vec<String>,
}

/// What is demanded of signatures by keys in hardware, beside a touch, which always is.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Where a browser may have signed with a passkey, e.g. `https://countersign.example.org`: at most 32, each as browsers
    /// write an origin. Where there is none, no browser's signature is taken.
    #[serde(default)]
    #[schemars(length(max = MAX_ORIGINS))]
    pub(super) origins: Vec<String>,
}

/// How often proposals are made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Proposals {
    /// How many one person or agent may make in an hour; keys that are not listed make as many together.
    #[serde(default = "per_hour")]
    #[schemars(range(min = 1, max = MAX_PER_HOUR))]
    pub(super) per_hour: u64,
}

const fn per_hour() -> u64 {
    120
}

impl Default for Proposals {
    fn default() -> Self {
        Self { per_hour: per_hour() }
    }
}

/// How often targets are looked at.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Investigations {
    /// How many reads, investigations and rehearsals one person or agent may begin in an hour with its key; keys that are not
    /// listed begin as many together.
    #[serde(default = "looks_per_hour")]
    #[schemars(range(min = 1, max = MAX_PER_HOUR))]
    pub(super) per_hour: u64,
}

const fn looks_per_hour() -> u64 {
    1200
}

impl Default for Investigations {
    fn default() -> Self {
        Self { per_hour: looks_per_hour() }
    }
}

/// How runs are started.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Runs {
    /// Whether each run is started with a person's signature: `run --key`. Otherwise it may name the local user alone, as
    /// the kernel tells it.
    #[serde(default)]
    pub(super) signed: bool,
}

/// How far an approval reaches.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Approval {
    /// The longest time for which an approval may be good: a whole number and `s`, `m`, `h` or `d`, at most `366d`.
    pub(super) max_validity: String,
    /// The most runs that one approval may be good for.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = MAX_USES))]
    pub(super) max_uses: u64,
    /// Whether mode `scoped` may be approved, in which a run may do anything inside its grants.
    #[serde(default)]
    pub(super) scoped: bool,
}

const fn one() -> u64 {
    1
}

/// How far standing approvals may reach, by which proposals run without anybody being asked again. Without it nothing
/// runs so, and with it only what a rule lets run `unattended`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct UnattendedBounds {
    /// How many runs of the same bundle, proposed by the same agent for the same target, must have been committed and not undone
    /// before one runs unattended.
    #[schemars(range(min = 1))]
    pub(super) committed: u64,
    /// The longest time for which a standing approval may be good: a whole number and `s`, `m`, `h` or `d`, at most `366d`.
    pub(super) max_validity: String,
    /// The most runs in an hour that a standing approval may be good for.
    #[schemars(range(min = 1))]
    pub(super) per_hour: u64,
    /// The most runs in a day.
    #[schemars(range(min = 1))]
    pub(super) per_day: u64,
    /// The most subjects that a proposal under one may change, on all its targets together.
    #[schemars(range(min = 1))]
    pub(super) subjects: u64,
}

/// Somebody who may approve, propose or operate.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Person {
    /// 1 to 64 letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or a digit; each name once, and not
    /// `unlisted`.
    pub(super) name: String,
    /// The groups that rules and quorums name.
    #[serde(default)]
    pub(super) groups: BTreeSet<String>,
    /// Public keys as OpenSSH writes them, `ssh-ed25519 …`, and in hardware `sk-ssh-ed25519@openssh.com …` and
    /// `sk-ecdsa-sha2-nistp256@openssh.com …`; at least one. One in hardware counts for the application that it names.
    pub(super) keys: Vec<String>,
    /// What they may do.
    pub(super) may: Vec<Right>,
    /// The person who put the keys here, and so does not count as an approver of what they propose.
    pub(super) enrolled_by: Option<String>,
}

/// A program that investigates and proposes as the rules let it, and nothing else.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Agent {
    /// As a person's.
    pub(super) name: String,
    /// The person who answers for it, and so cannot approve what it proposes.
    pub(super) owner: Option<String>,
    /// The person who put its keys here, and so cannot approve what it proposes either.
    pub(super) enrolled_by: Option<String>,
    /// `ssh-ed25519` keys, as a person's; hardware would ask for a touch.
    pub(super) keys: Vec<String>,
}

/// Who may investigate or propose what, where, and who may approve it. A proposal needs, on each of its targets, one
/// rule that takes in all of it; what no rule takes in is refused.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rule {
    /// What people call it: at most 100 bytes, all of which can be seen; no two rules of one name.
    pub(super) name: String,
    /// Agents and people, by name; `*` stands for any characters. Keys that are not listed are `unlisted`, which no pattern
    /// means: their runs are marked "approval not independent".
    pub(super) who: Vec<Pattern>,
    /// Targets, by name; `*` stands for any characters.
    pub(super) targets: Vec<Pattern>,
    /// What they may do.
    pub(super) may: BTreeSet<Activity>,
    /// What may be asked for, and at most. Limits hold for one step together.
    pub(super) grants: Option<Vec<Grant>>,
    /// In place of `grants`: whatever the ceilings of the target allow.
    #[serde(default)]
    pub(super) within_ceilings: bool,
    /// The groups whose people may approve it; without any, everybody who may approve.
    #[serde(default)]
    pub(super) approvers: BTreeSet<String>,
}

/// The most that any approval may grant on these targets, whatever a rule says and whoever signs; beside the
/// ceilings of the target's own configuration.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ceiling {
    /// As a rule's.
    pub(super) name: String,
    /// As a rule's.
    pub(super) targets: Vec<Pattern>,
    /// Each grant of an approval must be inside one of these.
    pub(super) grants: Vec<Grant>,
}

/// How many people must approve, and of which groups. A quorum holds where all its conditions do; all quorums that hold
/// must be met, so that the strictest decides. One at least has no condition.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Quorum {
    /// As a rule's.
    pub(super) name: String,
    /// How many people: 1 to as many as may approve. Neither the proposer counts, nor who answers for it or enrolled it.
    #[schemars(range(min = 1))]
    pub(super) people: u64,
    /// Only people of these groups count; without any, everybody who may approve.
    #[serde(default)]
    pub(super) groups: BTreeSet<String>,
    /// Only signatures by hardware that somebody touched count.
    #[serde(default)]
    pub(super) touch: bool,
    /// Only signatures by hardware that asked for a PIN or a finger count.
    #[serde(default)]
    pub(super) pin: bool,
    /// Condition: a target of the proposal is one of these; by name, `*` stands for any characters.
    #[serde(default)]
    pub(super) targets: Vec<Pattern>,
    /// Condition: a change of the plan cannot be undone.
    #[serde(default)]
    pub(super) irreversible: bool,
    /// Condition: the mode is `scoped`.
    #[serde(default)]
    pub(super) scoped: bool,
    /// Condition: the proposal has more targets than this.
    pub(super) targets_over: Option<u64>,
    /// Condition: the plans change more subjects than this, on all targets together.
    pub(super) subjects_over: Option<u64>,
}

/// Who may act at once where the people that quorums and rules ask for cannot be had: with keys of their own, on these targets,
/// within these grants, for a short time. A notice is given first, and a review stays open until somebody closes it.
/// Rules, ceilings, revocations and denials hold as ever, and so do sandbox, journal and audit log.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BreakGlass {
    /// As a rule's.
    pub(super) name: String,
    /// As a rule's: each target of such an approval.
    pub(super) targets: Vec<Pattern>,
    /// Each grant of such an approval must be inside one of these.
    pub(super) grants: Vec<Grant>,
    /// The longest time for which such an approval may be good: at most `24h`, and at most what `[approval]` says.
    pub(super) max_validity: String,
    /// The keys that break it, each with the person whose it is. They do nothing else, and stand nowhere else.
    pub(super) keys: Vec<BreakGlassKey>,
    /// How many people must sign: 1 to as many as have a key here. Neither the proposer counts, nor who answers for it or
    /// enrolled it.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub(super) people: u64,
    /// As a quorum's.
    #[serde(default)]
    pub(super) touch: bool,
    /// As a quorum's.
    #[serde(default)]
    pub(super) pin: bool,
    /// Whether a run by such an approval begins in a freeze too.
    #[serde(default)]
    pub(super) through_freezes: bool,
}

/// A key that breaks the glass.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakGlassKey {
    /// A person of `[[people]]`, by name.
    pub(super) person: String,
    /// A public key, as a person's.
    pub(super) key: String,
}

/// A time in which no run begins. What is under way then goes on, and is rolled back where it fails.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Freeze {
    /// As a rule's.
    pub(super) name: String,
    /// As a rule's.
    pub(super) targets: Vec<Pattern>,
    /// From when on, e.g. `2026-12-20T00:00:00Z`.
    pub(super) from: String,
    /// From when on runs begin again.
    pub(super) until: String,
    /// Why, for whoever is refused.
    pub(super) reason: String,
}

/// What counts no more; exactly one of the keys below `reason`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    /// Why, for whoever is refused.
    pub(super) reason: String,
    /// A key's fingerprint, `SHA256:…`: nothing that it signs or signed counts.
    pub(super) key: Option<String>,
    /// A person or an agent, by name: nothing that any of its keys signs or signed counts.
    pub(super) principal: Option<String>,
    /// The digest of a proposal.
    pub(super) proposal: Option<Digest>,
    /// The digest of a bundle, whatever it is proposed for.
    pub(super) bundle: Option<Digest>,
    /// The digest of an approval.
    pub(super) approval: Option<Digest>,
}
