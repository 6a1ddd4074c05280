package import FoundationEssentials
package import Postgres

/// What the scheduler started: a run is one job at one scheduled time, and nobody starts it twice.
package struct JobRunStore: Sendable {
    /// How a run ended.
    package enum Result: String, CaseIterable, Sendable {
        case running
        case ok
        case failed
        case timedOut = "timed_out"
    }

    /// One run of a job.
    package struct JobRun: Hashable, Sendable {
        package let job: String
        package let scheduledFor: Date
        package let startedAt: Date
        package let finishedAt: Date?
        package let result: Result
        package let exitCode: Int?
        package let detail: String?
    }

    /// How much of a run's output is kept, in characters; the schema checks it.
    package static let detailLimit = 2_000

    private let pool: PostgresPool

    /// Reads and writes through `pool`.
    package init(_ pool: PostgresPool) {
        self.pool = pool
    }

    /// Claims a run; false when it has been claimed already, by this scheduler or another. Throws `PostgresError`.
    package func claim(
        _ job: String,
        scheduledFor: Date,
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        let rows = try await pool.query(
            Statements.claim,
            [.text(job), .timestamp(scheduledFor), .timestamp(now)],
            deadline: deadline
        )
        return rows.affectedRows == 1
    }

    /// Notes how a run ended; throws `PostgresError`.
    package func finish(
        _ job: String,
        scheduledFor: Date,
        at now: Date,
        result: Result,
        exitCode: Int?,
        detail: String?,
        deadline: ContinuousClock.Instant
    ) async throws {
        _ = try await pool.query(
            Statements.finish,
            [
                .text(job),
                .timestamp(scheduledFor),
                .timestamp(now),
                .text(result.rawValue),
                exitCode.map { .int32(Int32(clamping: $0)) } ?? .null,
                detail.map { .text(String($0.prefix(JobRunStore.detailLimit))) } ?? .null,
            ],
            deadline: deadline
        )
    }

    /// The last run of each job; throws `PostgresError`.
    package func latest(deadline: ContinuousClock.Instant) async throws -> [JobRun] {
        try await pool.query(Statements.latest, deadline: deadline).map { row in
            JobRun(
                job: try row.get("job"),
                scheduledFor: try row.get("scheduled_for"),
                startedAt: try row.get("started_at"),
                finishedAt: try row.get("finished_at"),
                result: try row.choice("result"),
                exitCode: try row.get("exit_code", as: Int32?.self).map(Int.init),
                detail: try row.get("detail")
            )
        }
    }
}

extension JobRunStore {
    enum Statements {
        static let all = [claim, finish, latest]

        static let claim = SQLStatement(
            "job_run_claim",
            """
            INSERT INTO job_runs (job, scheduled_for, started_at, result)
            VALUES ($1, $2, $3, 'running')
            ON CONFLICT (job, scheduled_for) DO NOTHING
            """
        )

        static let finish = SQLStatement(
            "job_run_finish",
            """
            UPDATE job_runs
            SET finished_at = greatest($3, started_at), result = $4, exit_code = $5, detail = $6
            WHERE job = $1 AND scheduled_for = $2
            """
        )

        static let latest = SQLStatement(
            "job_runs_latest",
            """
            SELECT DISTINCT ON (job) job, scheduled_for, started_at, finished_at, result, exit_code, detail
            FROM job_runs
            ORDER BY job, scheduled_for DESC
            """
        )
    }
}
