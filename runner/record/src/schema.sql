-- Times are milliseconds since 1970-01-01 UTC. Digests are `sha256:` and 64 hexadecimal digits.
-- What was signed is kept as the bytes that were signed. A change here is a new FORMAT in schema.rs.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Before- and after-images of up to 1 MiB, committed with the intent that needs them.
CREATE TABLE images (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 71),
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE evidence (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL CHECK (length(digest) = 71),   -- of `record`
    target TEXT NOT NULL,
    principal TEXT NOT NULL,
    at INTEGER NOT NULL,
    record BLOB NOT NULL,
    signature TEXT NOT NULL
) STRICT;
CREATE INDEX evidence_by_target ON evidence (target, at);

-- Who began to look at a target within the last hour; older rows are removed by whoever looks next.
CREATE TABLE looks (
    position INTEGER PRIMARY KEY,
    principal TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX looks_by_principal ON looks (principal, at);
CREATE INDEX looks_by_time ON looks (at);

CREATE TABLE rehearsals (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 71),
    document BLOB NOT NULL,
    signature TEXT NOT NULL
) STRICT;

CREATE TABLE proposals (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 71),
    bundle TEXT NOT NULL CHECK (length(bundle) = 71),
    proposer TEXT NOT NULL,                             -- whom it counts for, where there are too many
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    document BLOB NOT NULL,
    signature TEXT NOT NULL,
    revises TEXT REFERENCES proposals (digest),         -- the proposal that it takes the place of
    undoes TEXT REFERENCES runs (id),                   -- the run that it undoes
    fix TEXT                                            -- the digest of its fix
) STRICT;
CREATE INDEX proposals_by_time ON proposals (created);
CREATE INDEX proposals_by_proposer ON proposals (proposer, created);
CREATE UNIQUE INDEX one_revision_per_proposal ON proposals (revises) WHERE revises IS NOT NULL;

-- What a proposal's plans change by their forward parts: what makes two proposals alike.
CREATE TABLE proposal_subjects (
    proposal TEXT NOT NULL REFERENCES proposals (digest),
    target TEXT NOT NULL,
    capability TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (proposal, target, capability, subject)
) STRICT, WITHOUT ROWID;

-- What a proposal cites, and what was recorded in its rehearsals.
CREATE TABLE proposal_evidence (
    proposal TEXT NOT NULL REFERENCES proposals (digest),
    evidence TEXT NOT NULL REFERENCES evidence (id),
    PRIMARY KEY (proposal, evidence)
) STRICT, WITHOUT ROWID;

-- An index of approvals/*.json. The files are the truth, and so are the signatures beside them.
CREATE TABLE manifests (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 71),
    proposal TEXT NOT NULL REFERENCES proposals (digest)
) STRICT;
CREATE INDEX manifests_by_proposal ON manifests (proposal);

-- What broken glass left to be reviewed: opened with the first signature, open until a person closes it by a word of theirs.
CREATE TABLE glass_reviews (
    manifest TEXT PRIMARY KEY REFERENCES manifests (digest),
    proposal TEXT NOT NULL REFERENCES proposals (digest),
    name TEXT NOT NULL,                                 -- what the trust policy calls this break-glass
    broken_by TEXT NOT NULL,                            -- a JSON list of names
    reason TEXT NOT NULL,
    opened INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    closed INTEGER,
    closed_by TEXT,                                     -- a name
    closing_reason TEXT,
    document BLOB,                                      -- what was signed to close it
    signature TEXT,
    CHECK ((closed IS NULL) = (document IS NULL))
) STRICT;
CREATE INDEX open_glass_reviews ON glass_reviews (opened, manifest) WHERE closed IS NULL;

CREATE TABLE denials (
    digest TEXT NOT NULL CHECK (length(digest) = 71),   -- of `document`
    proposal TEXT NOT NULL REFERENCES proposals (digest),
    document BLOB NOT NULL,
    signature TEXT NOT NULL,
    standing INTEGER NOT NULL,                          -- the last standing approval that there was by then, or 0
    PRIMARY KEY (digest, signature)
) STRICT;
CREATE INDEX denials_by_proposal ON denials (proposal);

CREATE TABLE runs (
    id TEXT PRIMARY KEY CHECK (length(id) = 14),
    proposal TEXT NOT NULL REFERENCES proposals (digest),
    manifest TEXT REFERENCES manifests (digest),        -- none where the run was refused before it had one
    standing TEXT REFERENCES standing_approvals (digest), -- none where people approved this very proposal
    bundle TEXT NOT NULL CHECK (length(bundle) = 71),
    target TEXT NOT NULL,
    approvers TEXT NOT NULL,                            -- a JSON list of names
    independent INTEGER NOT NULL CHECK (independent IN (0, 1)),
    started INTEGER NOT NULL,
    plan TEXT,                                          -- JSON
    guards TEXT,                                        -- JSON: as they stood before the first change
    rollback TEXT,                                      -- why it was rolled back, where it was
    outcome TEXT,                                       -- none while it runs, and where the runner died
    reason TEXT,
    report TEXT,                                        -- JSON
    finished INTEGER,
    undoes TEXT REFERENCES runs (id),                   -- the run that it undoes
    settled INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)), -- whether what was kept on the target for undo was let go
    waiting_since INTEGER,                              -- from when and until when it waits for a person's word, or did
    waiting_until INTEGER,
    kept TEXT,                                          -- why what it changed stays, once that was decided: it commits
    actor TEXT,                                         -- who started it; none where a refused order was nobody's who could be told
    CHECK ((outcome IS NULL) = (finished IS NULL)),
    CHECK ((waiting_since IS NULL) = (waiting_until IS NULL)),
    CHECK (kept IS NULL OR waiting_until IS NOT NULL),
    CHECK (manifest IS NOT NULL OR outcome = 'refused'),
    CHECK (actor IS NOT NULL OR outcome = 'refused')
) STRICT;
CREATE UNIQUE INDEX one_open_run_per_target ON runs (target) WHERE outcome IS NULL;
-- What recovery looks for: it must not grow with the runs that ended well.
CREATE INDEX unsettled_runs ON runs (outcome, target) WHERE settled = 0;
CREATE UNIQUE INDEX one_undoing_per_run ON runs (undoes) WHERE undoes IS NOT NULL AND outcome = 'committed';
CREATE INDEX runs_by_standing ON runs (standing, started) WHERE standing IS NOT NULL;
CREATE INDEX runs_by_time ON runs (started);
CREATE INDEX runs_by_manifest ON runs (manifest);
CREATE INDEX runs_by_bundle ON runs (bundle, started);
CREATE INDEX runs_by_proposal ON runs (proposal, started);

-- What people signed once for many runs, each with its signatures.
CREATE TABLE standing_approvals (
    position INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE CHECK (length(digest) = 71), -- of `document`
    example TEXT NOT NULL REFERENCES proposals (digest),
    bundle TEXT NOT NULL CHECK (length(bundle) = 71),
    agent TEXT NOT NULL,                                -- a name
    document BLOB NOT NULL
) STRICT;
CREATE INDEX standing_approvals_by_bundle ON standing_approvals (bundle, agent);

CREATE TABLE standing_signatures (
    position INTEGER PRIMARY KEY,
    standing TEXT NOT NULL REFERENCES standing_approvals (digest),
    signature TEXT NOT NULL,
    UNIQUE (standing, signature)
) STRICT;

-- The manifests that people signed, where a run was by one that was made of them.
CREATE TABLE run_sources (
    manifest TEXT NOT NULL REFERENCES manifests (digest),
    run TEXT NOT NULL REFERENCES runs (id),
    PRIMARY KEY (run, manifest)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_sources_by_manifest ON run_sources (manifest);

-- What was signed by whoever started a run, where they signed for it.
CREATE TABLE run_orders (
    run TEXT PRIMARY KEY REFERENCES runs (id),
    document BLOB NOT NULL,
    signature TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Who took a target's lock last. Whether somebody has it still, the lock tells.
CREATE TABLE holds (
    target TEXT PRIMARY KEY,
    process INTEGER NOT NULL
) STRICT;

-- What no run on another target may touch while that lock is held, or a run on the target is unfinished.
CREATE TABLE held_subjects (
    target TEXT NOT NULL REFERENCES holds (target),
    capability TEXT NOT NULL,
    subject TEXT NOT NULL,                              -- empty: every subject of the capability
    PRIMARY KEY (capability, subject, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_subjects_by_target ON held_subjects (target);

-- Who paused new runs, and who let them begin again: the latest row counts. What was signed is kept with it.
CREATE TABLE pauses (
    position INTEGER PRIMARY KEY,
    paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
    person TEXT NOT NULL,                               -- a name
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    document BLOB NOT NULL,
    signature TEXT NOT NULL
) STRICT;

-- Trust policies that were accepted. Rows are never removed: the highest serial is the lowest that is taken again.
CREATE TABLE policies (
    serial INTEGER PRIMARY KEY CHECK (serial > 0),
    document BLOB NOT NULL,
    signatures TEXT NOT NULL,                           -- JSON
    at INTEGER NOT NULL
) STRICT;

-- What people said of runs that waited for their word; kept only while they wait.
CREATE TABLE confirmations (
    run TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL CHECK (position > 0),
    document BLOB NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
    run TEXT NOT NULL REFERENCES runs (id),
    seq INTEGER NOT NULL CHECK (seq > 0),
    role TEXT NOT NULL,
    change TEXT NOT NULL,                               -- JSON
    state TEXT NOT NULL CHECK (state IN ('intended', 'done', 'not-applied', 'unclear', 'undone', 'conflict')),
    note TEXT,
    resolution INTEGER,                                 -- by which resolution of the run it was made; none of a step's
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

-- What people said of what a run left otherwise than before. The document is what they signed.
CREATE TABLE resolutions (
    run TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL CHECK (position > 0),
    subject TEXT NOT NULL,
    person TEXT NOT NULL,
    document BLOB NOT NULL,
    signature TEXT NOT NULL,
    outcome TEXT CHECK (outcome IN ('closed', 'failed')), -- none while it is at work, and where the runner died
    note TEXT,                                          -- why it failed
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_resolution_at_work ON resolutions (run) WHERE outcome IS NULL;

-- What a run left otherwise than before, and what closed it.
CREATE TABLE open_subjects (
    run TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL CHECK (position > 0),
    subject TEXT NOT NULL,
    body TEXT NOT NULL,                                 -- JSON
    closed_by INTEGER,
    PRIMARY KEY (run, position),
    UNIQUE (run, subject),
    FOREIGN KEY (run, closed_by) REFERENCES resolutions (run, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX still_open ON open_subjects (run) WHERE closed_by IS NULL;

CREATE TABLE events (
    run TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL CHECK (position > 0),
    after_change INTEGER NOT NULL,                      -- the latest change's seq at that moment, 0 before the first
    kind TEXT NOT NULL,
    body TEXT NOT NULL,                                 -- JSON
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

-- The audit log: a Merkle tree over `log_entries`, by RFC 6962. Rows are only ever added.
CREATE TABLE log_entries (
    position INTEGER PRIMARY KEY CHECK (position >= 0),
    leaf BLOB NOT NULL CHECK (length(leaf) = 32),
    entry BLOB NOT NULL CHECK (length(entry) <= 65535),
    run TEXT
) STRICT;
CREATE INDEX log_entries_by_run ON log_entries (run, position) WHERE run IS NOT NULL;

-- The roots of full tiles, by the level of the tile that each stands in.
CREATE TABLE log_nodes (
    level INTEGER NOT NULL CHECK (level > 0),
    position INTEGER NOT NULL CHECK (position >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, position)
) STRICT, WITHOUT ROWID;

-- The tree's right edge, its newest signed checkpoint, and how many entries stand in full files that were synced.
CREATE TABLE log_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    edge BLOB NOT NULL,
    checkpoint TEXT,
    latest INTEGER NOT NULL DEFAULT 0,                  -- the time of the latest entry
    synced INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO log_head (one, size, edge) VALUES (1, 0, x'');

-- What was logged last of what is logged when it changes.
CREATE TABLE log_latest (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
