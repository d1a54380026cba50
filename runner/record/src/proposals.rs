use countersign_model::{Digest, text};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::names::{Names, proposal_name};
use crate::rows::{self, MAX_DOCUMENT, MAX_LISTED, MAX_SIGNATURE};
use crate::{Entry, RecordError, State};

/// Proposals, signed by their proposers; see [`State::proposals`].
pub struct Proposals<'a>(pub(crate) &'a State);

/// A proposal to record.
#[derive(Clone, Copy, Debug)]
pub struct NewProposal<'a> {
    /// The exact bytes that were signed.
    pub document: &'a [u8],
    /// The armored signature.
    pub signature: &'a str,
    /// The bundle that it proposes.
    pub bundle: &'a Digest,
    /// Whom it counts for, where there are too many: see [`Proposals::recent`].
    pub proposer: &'a str,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created: u64,
    /// From when on it can no longer be approved.
    pub expires: u64,
    /// The ids of the evidence behind it, cited or recorded in its rehearsals; each must be recorded already.
    pub evidence: &'a [String],
    /// The digest of its fix.
    pub fix: Option<&'a Digest>,
    /// What its plans change, each once or more often; see [`Proposals::denied_like`].
    pub subjects: &'a [PlannedSubject],
}

/// Something that a plan changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedSubject {
    /// The target.
    pub target: String,
    /// The capability.
    pub capability: String,
    /// The subject, as the capability names it.
    pub subject: String,
}

/// A denied proposal that another one is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedLike {
    /// The denied one.
    pub proposal: Digest,
    /// Whether both have one bundle.
    pub bundle: bool,
    /// Whether both have one fix.
    pub fix: bool,
    /// What both change, in order.
    pub subjects: Vec<PlannedSubject>,
}

/// What a proposal follows from. Both are recorded already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lineage<'a> {
    /// The proposal that it takes the place of.
    pub revises: Option<&'a Digest>,
    /// The run that it undoes.
    pub undoes: Option<&'a str>,
}

/// A recorded proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalRecord {
    /// The digest under which it was recorded; the caller compares it with the bytes.
    pub digest: Digest,
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// The armored signature.
    pub signature: String,
    /// The bundle that it proposes.
    pub bundle: Digest,
}

/// A proposal in a list, with what became of it. The counts are of what is recorded, not of what is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalSummary {
    /// The proposal.
    pub digest: Digest,
    /// The bundle that it proposes.
    pub bundle: Digest,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created: u64,
    /// From when on it can no longer be approved.
    pub expires: u64,
    /// How many approval manifests there are.
    pub manifests: u64,
    /// How many denials there are.
    pub denials: u64,
    /// How many runs there were that were not refused.
    pub runs: u64,
}

/// What bounds every approval, by which it is told that one can be good no more.
#[derive(Clone, Copy, Debug)]
pub struct PendingBounds {
    /// The time, in milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// The longest that an approval is good for, in milliseconds.
    pub longest: u64,
    /// The most runs on one target that an approval is good for.
    pub uses: u32,
}

/// How many of the latest denials are compared with a proposal.
const MAX_DENIALS: usize = 10_000;

const NAMES: Names = Names {
    noun: "proposal",
    expected: "`p-` or `sha256:` and hexadecimal digits in lower case, or only those, at least 6",
    markers: &["p-", "sha256:"],
    stored: "sha256:",
    longest: 64,
    sql: "SELECT digest FROM proposals WHERE digest >= ?1 AND digest < ?2 ORDER BY digest LIMIT ?3",
    show: |stored| stored.parse().map_or_else(|_| stored.to_owned(), |digest: Digest| distinct(&digest)),
};

/// Long enough to tell it from others that begin alike.
fn distinct(digest: &Digest) -> String {
    format!("{} ({digest})", proposal_name(digest))
}

const SUMMARY: &str = "SELECT p.digest, p.bundle, p.created, p.expires,
    (SELECT count(*) FROM manifests m WHERE m.proposal = p.digest) AS manifests,
    (SELECT count(*) FROM denials d WHERE d.proposal = p.digest) AS denials,
    (SELECT count(*) FROM proposals n WHERE n.revises = p.digest) AS revisions,
    (SELECT count(*) FROM runs r WHERE r.proposal = p.digest AND r.outcome IS NOT 'refused') AS runs,
    p.proposer
    FROM proposals p";

impl Proposals<'_> {
    /// Records a proposal durably and gives the digest of its document. The same one twice is recorded once.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where its evidence is not recorded.
    pub fn add(&self, new: NewProposal<'_>) -> Result<Digest, RecordError> {
        self.add_after(new, Lineage::default(), &[])
    }

    /// Like [`Proposals::add`], of a proposal that follows from another or from a run. From here on the other one is
    /// superseded. These entries of the audit log are recorded with it.
    ///
    /// # Errors
    /// [`RecordError::Superseded`] where the other one is already; [`RecordError::NotFound`] where there is none.
    pub fn add_after(
        &self,
        new: NewProposal<'_>,
        lineage: Lineage<'_>,
        entries: &[Entry],
    ) -> Result<Digest, RecordError> {
        rows::bounded("bytes of a proposal", new.document.len(), MAX_DOCUMENT)?;
        rows::bounded("bytes of a signature", new.signature.len(), MAX_SIGNATURE)?;
        rows::bounded("pieces of evidence", new.evidence.len(), MAX_LISTED)?;
        let digest = Digest::of(new.document);
        let failed = |error| RecordError::database("record the proposal", error);
        self.0.write("record the proposal", |tx| {
            if let Some(revised) = lineage.revises {
                match revision(tx, revised).map_err(failed)? {
                    Some(by) if by != digest => {
                        return Err(RecordError::Superseded { old: proposal_name(revised), new: proposal_name(&by) });
                    }
                    _ => {}
                }
            }
            let sql = "INSERT INTO proposals
                       (digest, bundle, created, expires, document, signature, revises, undoes, proposer, fix)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (digest) DO NOTHING";
            let (created, expires) = (rows::time(new.created), rows::time(new.expires));
            let (text, bundle) = (digest.to_string(), new.bundle.to_string());
            let revises = lineage.revises.map(ToString::to_string);
            let (document, undoes, proposer) = (new.document, lineage.undoes, new.proposer);
            let fix = new.fix.map(ToString::to_string);
            let values =
                params![text, bundle, created, expires, document, new.signature, revises, undoes, proposer, fix];
            if tx.execute(sql, values).map_err(failed)? == 1 {
                let sql =
                    "INSERT INTO proposal_subjects (proposal, target, capability, subject) VALUES (?1, ?2, ?3, ?4)
                           ON CONFLICT DO NOTHING";
                for PlannedSubject { target, capability, subject } in new.subjects {
                    tx.execute(sql, params![text, target, capability, subject]).map_err(failed)?;
                }
                for id in new.evidence {
                    link(tx, &text, id)?;
                }
                self.0.log().append_all(tx, entries).map_err(failed)?;
            }
            Ok(digest)
        })
    }

    /// How many were made for a proposer after a moment.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn recent(&self, proposer: &str, after: u64) -> Result<u64, RecordError> {
        let sql = "SELECT count(*) FROM proposals WHERE proposer = ?1 AND created > ?2";
        self.0.read("count proposals", |connection| {
            connection.query_row(sql, params![proposer, rows::time(after)], |row| rows::get_count(row, 0))
        })
    }

    /// The denied proposals that this one is like, the latest denial first: those with its bundle, those with its fix, and
    /// those whose plans change a subject that its own do on the same target. What undoes a run is only like
    /// others that do. Of the latest denials some thousands are looked at.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn denied_like(&self, proposal: &Digest, limit: usize) -> Result<Vec<DeniedLike>, RecordError> {
        const BOTH: &str = "SELECT mine.target, mine.capability, mine.subject
             FROM proposal_subjects mine JOIN proposal_subjects other USING (target, capability, subject)
             WHERE mine.proposal = ?1 AND other.proposal =";
        let own = proposal.to_string();
        let sql = format!(
            "SELECT p.digest, p.bundle = o.bundle, coalesce(p.fix = o.fix, 0)
             FROM (SELECT proposal, max(at) AS latest
                   FROM (SELECT proposal, rowid AS at FROM denials ORDER BY rowid DESC LIMIT {MAX_DENIALS})
                   GROUP BY proposal) d
             JOIN proposals p ON p.digest = d.proposal JOIN proposals o ON o.digest = ?1
             WHERE p.digest <> o.digest AND (p.undoes IS NULL) = (o.undoes IS NULL)
               AND (p.bundle = o.bundle OR p.fix = o.fix OR EXISTS ({BOTH} p.digest))
             ORDER BY d.latest DESC LIMIT ?2"
        );
        self.0.read("look for denied proposals", |connection| {
            let decode = |row: &Row<'_>| Ok((rows::get_digest(row, 0)?, row.get(1)?, row.get(2)?));
            let found: Vec<(Digest, bool, bool)> = connection
                .prepare(&sql)?
                .query_map(params![own, rows::limit(limit)], decode)?
                .collect::<Result<_, _>>()?;
            let mut both = connection.prepare(&format!("{BOTH} ?2 ORDER BY 1, 2, 3 LIMIT ?3"))?;
            let like = |(proposal, bundle, fix): (Digest, bool, bool)| {
                let subject = |row: &Row<'_>| {
                    Ok(PlannedSubject { target: row.get(0)?, capability: row.get(1)?, subject: row.get(2)? })
                };
                let values = params![own, proposal.to_string(), rows::limit(MAX_LISTED)];
                let subjects = both.query_map(values, subject)?.collect::<Result<_, _>>()?;
                Ok(DeniedLike { proposal, bundle, fix, subjects })
            };
            found.into_iter().map(like).collect()
        })
    }

    /// The proposal that took the place of this one, if one did.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn revision(&self, digest: &Digest) -> Result<Option<Digest>, RecordError> {
        self.0.read("look for a revision", |connection| revision(connection, digest))
    }

    /// The proposal of this digest.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where there is none.
    pub fn get(&self, digest: &Digest) -> Result<ProposalRecord, RecordError> {
        let sql = "SELECT digest, document, signature, bundle FROM proposals WHERE digest = ?1";
        let found = self.0.read("read a proposal", |connection| {
            connection
                .query_row(sql, [digest.to_string()], |row| {
                    Ok(ProposalRecord {
                        digest: rows::get_digest(row, 0)?,
                        document: row.get(1)?,
                        signature: row.get(2)?,
                        bundle: rows::get_digest(row, 3)?,
                    })
                })
                .optional()
        })?;
        found.ok_or_else(|| RecordError::NotFound { noun: "proposal", name: proposal_name(digest) })
    }

    /// The digest of the proposal that a person means by `p-…`, `sha256:…` or at least 6 hexadecimal digits.
    ///
    /// # Errors
    /// [`RecordError::Ambiguous`] with the candidates, [`RecordError::NotFound`] or [`RecordError::BadName`].
    pub fn find(&self, name: &str) -> Result<Digest, RecordError> {
        let stored = self.0.with_connection(|connection| NAMES.resolve(connection, name))?;
        stored.parse().map_err(|_| RecordError::Damaged {
            path: "proposals".to_owned(),
            what: format!("`{}` is not a digest", text::excerpt(&stored, 80)),
        })
    }

    /// The latest proposals, newest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn list(&self, limit: usize) -> Result<Vec<ProposalSummary>, RecordError> {
        let sql = format!("{SUMMARY} ORDER BY p.created DESC, p.digest LIMIT ?1");
        self.0.read("list the proposals", |connection| {
            connection.prepare(&sql)?.query_map([rows::limit(limit)], summary)?.collect()
        })
    }

    /// The proposals that may wait for somebody, oldest first, and how many more there are beyond `limit`: those neither
    /// denied nor superseded, and not expired and not run, or with an approval that may still be good. Whether it is, is
    /// for the caller to find out. Where there are too many, proposers take turns: whoever has few waits behind nobody who
    /// has a flood of them.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn pending(&self, bounds: PendingBounds, limit: usize) -> Result<(Vec<ProposalSummary>, u64), RecordError> {
        // What is damaged has no number of targets, and is never used up.
        let sql = format!(
            "SELECT *, count(*) OVER (), row_number() OVER (PARTITION BY proposer ORDER BY created, digest) AS turn
             FROM ({SUMMARY}) s WHERE denials = 0 AND revisions = 0
             AND (runs = 0 AND expires > ?1 OR manifests > 0 AND expires > ?2)
             AND (runs = 0 OR EXISTS (SELECT 1 FROM manifests m WHERE m.proposal = s.digest
                AND (SELECT count(*) FROM (SELECT 1 FROM runs r WHERE r.manifest = m.digest AND r.outcome IS NOT 'refused'
                                           GROUP BY r.target HAVING count(*) >= ?4))
                  < (SELECT coalesce(iif(json_valid(p.text), json_array_length(p.text, '$.targets'), NULL), ?4 + 1000000)
                     FROM (SELECT CAST(document AS TEXT) AS text FROM proposals WHERE digest = s.digest) p)))
             ORDER BY turn, created, digest LIMIT ?3"
        );
        let PendingBounds { now, longest, uses } = bounds;
        let (now, ago) = (rows::time(now), rows::time(now.saturating_sub(longest)));
        let rows = self.0.read("list the proposals", |connection| {
            let decode = |row: &Row<'_>| Ok((summary(row)?, rows::get_count(row, 9)?));
            let rows: rusqlite::Result<Vec<_>> =
                connection.prepare(&sql)?.query_map(params![now, ago, rows::limit(limit), uses], decode)?.collect();
            rows
        })?;
        let all = rows.first().map_or(0, |(_, all)| *all);
        let mut summaries: Vec<_> = rows.into_iter().map(|(summary, _)| summary).collect();
        summaries.sort_by_key(|summary| (summary.created, summary.digest.to_string()));
        let left_off = all.saturating_sub(summaries.len() as u64);
        Ok((summaries, left_off))
    }
}

/// The proposal that took the place of this one.
pub(crate) fn revision(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Digest>> {
    let sql = "SELECT digest FROM proposals WHERE revises = ?1";
    connection.query_row(sql, [digest.to_string()], |row| rows::get_digest(row, 0)).optional()
}

fn link(tx: &Transaction<'_>, proposal: &str, id: &str) -> Result<(), RecordError> {
    let failed = |error| RecordError::database("record the proposal", error);
    let sql = "INSERT INTO proposal_evidence (proposal, evidence) SELECT ?1, id FROM evidence WHERE id = ?2
               ON CONFLICT DO NOTHING";
    if tx.execute(sql, params![proposal, id]).map_err(failed)? == 1 {
        return Ok(());
    }
    let sql = "SELECT 1 FROM proposal_evidence WHERE proposal = ?1 AND evidence = ?2";
    let twice: Option<i64> = tx.query_row(sql, params![proposal, id], |row| row.get(0)).optional().map_err(failed)?;
    twice.map(drop).ok_or_else(|| RecordError::NotFound { noun: "evidence", name: text::excerpt(id, 80) })
}

fn summary(row: &Row<'_>) -> rusqlite::Result<ProposalSummary> {
    Ok(ProposalSummary {
        digest: rows::get_digest(row, 0)?,
        bundle: rows::get_digest(row, 1)?,
        created: rows::get_time(row, 2)?,
        expires: rows::get_time(row, 3)?,
        manifests: rows::get_count(row, 4)?,
        denials: rows::get_count(row, 5)?,
        runs: rows::get_count(row, 7)?,
    })
}
