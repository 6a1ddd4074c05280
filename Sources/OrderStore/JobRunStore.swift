package import FoundationEssentials
package import Postgres

/// What the scheduler started, and what became of it.
///
/// A run is one job at one scheduled time, and nobody starts it twice; a job has one run at a time, whoever started it.
/// Both are kept by keys of the table. A run is its owner's for as long as the owner sends heartbeats; afterwards it
/// counts as lost, until the owner is heard of again or a later run was started.
package struct JobRunStore: Sendable {
    /// What became of a scheduled time.
    package enum Result: String, CaseIterable, Sendable {
        /// It waits for the run before it.
        case queued
        case running
        case ok
        case failed
        case timedOut = "timed_out"
        /// It was stopped for a later run.
        case replaced
        /// Its owner was not heard of any more.
        case lost
        /// It was not started because another run was going, or its process found that it was not its turn.
        case skipped
        /// It was not started because no scheduler could do so in time.
        case missed
    }

    /// One run of a job.
    package struct JobRun: Hashable, Sendable {
        package let job: String
        package let scheduledFor: Date
        package let startedAt: Date
        package let finishedAt: Date?
        package let result: Result
        package let exitCode: Int?
        /// The number of the signal that ended it.
        package let signal: Int?
        /// How many earlier times came to nothing but this.
        package let missed: Int64
        package let detail: String?
    }

    /// How the process of a run ended.
    package struct Ending: Hashable, Sendable {
        package let result: Result
        package let exitCode: Int?
        package let signal: Int?
        package let detail: String?

        /// Makes an ending.
        package init(result: Result, exitCode: Int?, signal: Int?, detail: String?) {
            self.result = result
            self.exitCode = exitCode
            self.signal = signal
            self.detail = detail
        }
    }

    /// What a claim came to.
    package enum Claim: Hashable, Sendable {
        /// The run is the caller's, under this fencing number.
        case started(fence: Int64)
        /// Something has become of this time already.
        case taken
        /// The run of another time is going, since then.
        case busy(with: Date, since: Date)
    }

    /// A run that was waiting.
    package struct Queued: Hashable, Sendable {
        package let scheduledFor: Date
        package let fence: Int64
    }

    /// How far a job has come.
    package struct Progress: Hashable, Sendable {
        /// The last time, not after now, of which something has become; nil for a new job.
        package let latest: Date?
        package let hasQueued: Bool
    }

    /// What has become of a job, whichever scheduler had it.
    package struct Record: Hashable, Sendable {
        package let job: String
        /// Whether the last run that has ended succeeded; nil before the first. Runs that were not started, and those
        /// that were stopped for a later one, do not count.
        package let hasSucceeded: Bool?
        /// When the last run that succeeded ended; nil before the first.
        package let succeededAt: Date?
        /// When it was last noted, within a day, that times had been missed; nil when they were not.
        package let missedAt: Date?
    }

    /// How much of a run's output is kept, in characters; the schema checks it.
    package static let detailLimit = 2_000
    /// Claims wait for each other on this advisory lock, so that fencing numbers rise in the order of claims.
    private static let lockKey: Int64 = 7_003

    private let pool: PostgresPool

    /// Reads and writes through `pool`.
    package init(_ pool: PostgresPool) {
        self.pool = pool
    }

    /// How far a job has come at `now`; throws `PostgresError`.
    package func progress(
        of job: String,
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws -> Progress {
        let rows = try await pool.query(Statements.progress, [.text(job), .timestamp(now)], deadline: deadline)
        return Progress(latest: try rows[0].get("latest"), hasQueued: try rows[0].get("has_queued"))
    }

    /// Claims a run.
    ///
    /// - Parameters:
    ///   - owner: who claims; said again by the same owner after the answer was lost, the claim is found to stand.
    ///   - missed: how many earlier times this run stands for.
    ///   - isReplacing: whether a run that was going at this time already is stopped for it.
    /// - Throws: `PostgresError`; the run may be claimed or not.
    package func claim(
        _ job: String,
        scheduledFor: Date,
        at now: Date,
        owner: UUID,
        missed: Int,
        isReplacing: Bool,
        deadline: ContinuousClock.Instant
    ) async throws -> Claim {
        let run = [PostgresValue.text(job), .timestamp(scheduledFor)]
        var steps = [PostgresStep(.begin), PostgresStep(Statements.lockClaims, [.int64(JobRunStore.lockKey)])]
        if isReplacing { steps.append(PostgresStep(Statements.replace, run + [.timestamp(now)])) }
        steps.append(
            PostgresStep(Statements.claim, run + [.timestamp(now), .uuid(owner), .int64(Int64(missed))])
        )
        steps += [PostgresStep(Statements.inTheWay, run), PostgresStep(.commit)]
        let answers = try await pool.pipeline(steps, deadline: deadline)
        if let fence = try answers[steps.count - 3].first?.get("fence", as: Int64.self) {
            return .started(fence: fence)
        }
        return try verdict(on: answers[steps.count - 2], scheduledFor: scheduledFor, owner: owner)
    }

    private func verdict(on rows: PostgresRows, scheduledFor: Date, owner: UUID) throws -> Claim {
        var other: Claim?
        for row in rows {
            let time: Date = try row.get("scheduled_for")
            let isRunning = try row.choice("result") == Result.running
            guard abs(time.timeIntervalSince(scheduledFor)) < 0.001 else {
                other = .busy(with: time, since: try row.get("started_at"))
                continue
            }
            if isRunning, try row.get("owner", as: UUID?.self) == owner,
                let fence = try row.get("fence", as: Int64?.self)
            {
                return .started(fence: fence)
            }
            return .taken
        }
        return other ?? .taken
    }

    /// Lets a run wait for the one that is going; false when another waits already, or something has become of this
    /// time. Throws `PostgresError`.
    package func enqueue(
        _ job: String,
        scheduledFor: Date,
        at now: Date,
        missed: Int,
        deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        try await pool.query(
            Statements.enqueue,
            [.text(job), .timestamp(scheduledFor), .timestamp(now), .int64(Int64(missed))],
            deadline: deadline
        )
        .affectedRows == 1
    }

    /// Claims the run that waits, unless another one is going; nil when there is nothing to start.
    ///
    /// - Throws: `PostgresError`; a run that was started but whose answer was lost becomes lost with its lease.
    package func startQueued(
        _ job: String,
        at now: Date,
        owner: UUID,
        deadline: ContinuousClock.Instant
    ) async throws -> Queued? {
        let answers = try await pool.pipeline(
            [
                PostgresStep(.begin), PostgresStep(Statements.lockClaims, [.int64(JobRunStore.lockKey)]),
                PostgresStep(Statements.startQueued, [.text(job), .timestamp(now), .uuid(owner)]),
                PostgresStep(.commit),
            ],
            deadline: deadline
        )
        return try answers[2].first.map { row in
            Queued(scheduledFor: try row.get("scheduled_for"), fence: try row.get("fence"))
        }
    }

    /// Notes that times came to nothing, of which this is the last; false when something has become of it already.
    ///
    /// - Parameters:
    ///   - result: skipped or missed.
    ///   - missed: how many times before it are meant too.
    /// - Throws: `PostgresError`.
    package func pass(
        _ job: String,
        scheduledFor: Date,
        at now: Date,
        result: Result,
        missed: Int,
        reason: String,
        deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        try await pool.query(
            Statements.pass,
            [
                .text(job), .timestamp(scheduledFor), .timestamp(now), .text(result.rawValue), .int64(Int64(missed)),
                .text(String(reason.prefix(JobRunStore.detailLimit))),
            ],
            deadline: deadline
        )
        .affectedRows == 1
    }

    /// Tells that the owner of a run lives; false when the run is its own no more. Throws `PostgresError`.
    package func beat(_ job: String, fence: Int64, deadline: ContinuousClock.Instant) async throws -> Bool {
        try await pool.query(Statements.beat, [.text(job), .int64(fence)], deadline: deadline).affectedRows == 1
    }

    /// Notes how a run ended, if its fencing number is still the job's newest; whether it was. Throws `PostgresError`.
    package func finish(
        _ job: String,
        fence: Int64,
        at now: Date,
        _ ending: Ending,
        deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        try await pool.query(
            Statements.finish,
            [
                .text(job),
                .int64(fence),
                .timestamp(now),
                .text(ending.result.rawValue),
                ending.exitCode.map { .int32(Int32(clamping: $0)) } ?? .null,
                ending.signal.map { .int32(Int32(clamping: $0)) } ?? .null,
                ending.detail.map { .text(String($0.prefix(JobRunStore.detailLimit))) } ?? .null,
            ],
            deadline: deadline
        )
        .affectedRows == 1
    }

    /// Marks the runs as lost whose owners were not heard of for as long as `lease`, so that they are in the way of no
    /// later one; job and time of each, which nobody else is told. Throws `PostgresError`.
    package func expire(
        lease: Duration,
        deadline: ContinuousClock.Instant
    ) async throws -> [(job: String, scheduledFor: Date)] {
        try await pool.query(Statements.expire, [.double(lease / .seconds(1))], deadline: deadline).map { row in
            (try row.get("job"), try row.get("scheduled_for"))
        }
    }

    /// The last run of each of these jobs that has one; throws `PostgresError`.
    package func latest(_ jobs: [String], deadline: ContinuousClock.Instant) async throws -> [JobRun] {
        try await pool.query(Statements.latest, [.textArray(jobs)], deadline: deadline).map(JobRun.init(row:))
    }

    /// What has become of each of these jobs until `now`; throws `PostgresError`.
    package func records(
        of jobs: [String],
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws -> [Record] {
        try await pool.query(Statements.records, [.textArray(jobs), .timestamp(now)], deadline: deadline).map { row in
            Record(
                job: try row.get("job"),
                hasSucceeded: try row.get("has_succeeded"),
                succeededAt: try row.get("succeeded_at"),
                missedAt: try row.get("missed_at")
            )
        }
    }

    /// The last runs of a job, or of all jobs, the latest times first; throws `PostgresError`.
    package func history(
        of job: String?,
        limit: Int,
        deadline: ContinuousClock.Instant
    ) async throws -> [JobRun] {
        try await pool.query(
            Statements.history,
            [job.map { .text($0) } ?? .null, .int64(Int64(limit))],
            deadline: deadline
        )
        .map(JobRun.init(row:))
    }
}

extension JobRunStore.JobRun {
    fileprivate init(row: PostgresRow) throws {
        self.init(
            job: try row.get("job"),
            scheduledFor: try row.get("scheduled_for"),
            startedAt: try row.get("started_at"),
            finishedAt: try row.get("finished_at"),
            result: try row.choice("result"),
            exitCode: try row.get("exit_code", as: Int32?.self).map(Int.init),
            signal: try row.get("signal", as: Int32?.self).map(Int.init),
            missed: try row.get("missed"),
            detail: try row.get("detail")
        )
    }
}

extension JobRunStore {
    enum Statements {
        static let all = [
            progress, lockClaims, expire, replace, claim, inTheWay, enqueue, startQueued, pass, beat, finish, latest,
            records, history,
        ]

        /// Times after now are left out: a clock that was wrong once has put them there, and the job must go on.
        static let progress = SQLStatement(
            "job_run_progress",
            """
            SELECT (SELECT max(scheduled_for) FROM job_runs WHERE job = $1 AND scheduled_for <= $2) AS latest,
                   EXISTS (SELECT FROM job_runs WHERE job = $1 AND result = 'queued') AS has_queued
            """
        )

        static let lockClaims = SQLStatement(
            "job_run_lock_claims",
            "SELECT true AS locked FROM pg_advisory_xact_lock($1)"
        )

        /// Heartbeats and leases go by the database's clock, since those of two schedulers may differ.
        static let expire = SQLStatement(
            "job_run_expire",
            """
            UPDATE job_runs
            SET result = 'lost', finished_at = greatest(clock_timestamp(), started_at),
                detail = 'its scheduler was last heard of at ' || to_char(heartbeat_at AT TIME ZONE 'UTC',
                    'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' and may have been killed'
            WHERE result = 'running' AND heartbeat_at < clock_timestamp() - make_interval(secs => $1)
            RETURNING job, scheduled_for
            """
        )

        static let replace = SQLStatement(
            "job_run_replace",
            """
            UPDATE job_runs
            SET result = 'replaced', finished_at = greatest($3, started_at),
                detail = 'stopped for the run of ' || to_char($2::timestamptz AT TIME ZONE 'UTC',
                    'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            WHERE job = $1 AND result = 'running' AND scheduled_for < $2 AND started_at < $2
                AND NOT EXISTS (SELECT FROM job_runs r WHERE r.job = $1 AND r.scheduled_for = $2)
            """
        )

        /// Inserts nothing when something has become of the time, or when another run of the job is going.
        static let claim = SQLStatement(
            "job_run_claim",
            """
            INSERT INTO job_runs (job, scheduled_for, started_at, result, owner, fence, heartbeat_at, missed)
            VALUES ($1, $2, $3, 'running', $4, nextval('job_run_fence'), clock_timestamp(), $5)
            ON CONFLICT DO NOTHING
            RETURNING fence
            """
        )

        static let inTheWay = SQLStatement(
            "job_run_in_the_way",
            """
            SELECT scheduled_for, started_at, result, owner, fence
            FROM job_runs
            WHERE job = $1 AND (scheduled_for = $2 OR result = 'running')
            ORDER BY scheduled_for = $2 DESC
            """
        )

        static let enqueue = SQLStatement(
            "job_run_enqueue",
            """
            INSERT INTO job_runs (job, scheduled_for, started_at, result, missed)
            VALUES ($1, $2, $3, 'queued', $4)
            ON CONFLICT DO NOTHING
            """
        )

        static let startQueued = SQLStatement(
            "job_run_start_queued",
            """
            UPDATE job_runs q
            SET result = 'running', started_at = $2, owner = $3, fence = nextval('job_run_fence'),
                heartbeat_at = clock_timestamp()
            WHERE q.job = $1 AND q.result = 'queued'
                AND NOT EXISTS (SELECT FROM job_runs r WHERE r.job = $1 AND r.result = 'running')
            RETURNING q.scheduled_for, q.fence
            """
        )

        static let pass = SQLStatement(
            "job_run_pass",
            """
            INSERT INTO job_runs (job, scheduled_for, started_at, finished_at, result, missed, detail)
            VALUES ($1, $2, $3, $3, $4, $5, $6)
            ON CONFLICT DO NOTHING
            """
        )

        /// A run that was given up too soon, while the database or its owner could not be reached, is taken up again.
        static let beat = SQLStatement(
            "job_run_beat",
            """
            UPDATE job_runs
            SET heartbeat_at = clock_timestamp(), result = 'running', finished_at = NULL, detail = NULL
            WHERE job = $1 AND fence = $2 AND result IN ('running', 'lost')
                AND NOT EXISTS (SELECT FROM job_runs later WHERE later.job = $1 AND later.fence > $2)
            """
        )

        /// Said twice it does the same, since the answer to the first may have been lost.
        static let finish = SQLStatement(
            "job_run_finish",
            """
            UPDATE job_runs
            SET finished_at = greatest($3, started_at), result = $4, exit_code = $5, signal = $6, detail = $7
            WHERE job = $1 AND fence = $2 AND result IN ('running', 'lost', $4)
                AND NOT EXISTS (SELECT FROM job_runs later WHERE later.job = $1 AND later.fence > $2)
            """
        )

        static let latest = SQLStatement(
            "job_runs_latest",
            """
            SELECT r.job, r.scheduled_for, r.started_at, r.finished_at, r.result, r.exit_code, r.signal, r.missed,
                r.detail
            FROM unnest($1::text[]) AS asked (job)
            CROSS JOIN LATERAL (
                SELECT job, scheduled_for, started_at, finished_at, result, exit_code, signal, missed, detail
                FROM job_runs
                WHERE job = asked.job
                ORDER BY scheduled_for DESC
                LIMIT 1
            ) AS r
            """
        )

        /// Times after now are left out, as in ``progress``.
        static let records = SQLStatement(
            "job_run_records",
            """
            SELECT asked.job,
                   (
                       SELECT result = 'ok'
                       FROM job_runs
                       WHERE job = asked.job AND scheduled_for <= $2 AND result IN ('ok', 'failed', 'timed_out', 'lost')
                       ORDER BY scheduled_for DESC
                       LIMIT 1
                   ) AS has_succeeded,
                   (
                       SELECT finished_at
                       FROM job_runs
                       WHERE job = asked.job AND scheduled_for <= $2 AND result = 'ok'
                       ORDER BY scheduled_for DESC
                       LIMIT 1
                   ) AS succeeded_at,
                   (
                       SELECT max(started_at)
                       FROM job_runs
                       WHERE job = asked.job AND scheduled_for <= $2 AND scheduled_for > $2 - interval '1 day'
                           AND (result = 'missed' OR missed > 0)
                   ) AS missed_at
            FROM unnest($1::text[]) AS asked (job)
            """
        )

        static let history = SQLStatement(
            "job_runs_history",
            """
            SELECT job, scheduled_for, started_at, finished_at, result, exit_code, signal, missed, detail
            FROM job_runs
            WHERE $1::text IS NULL OR job = $1
            ORDER BY scheduled_for DESC, job
            LIMIT $2
            """
        )
    }
}
