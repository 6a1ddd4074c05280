import Foundation
import Logging
import OpsMetrics
import OrderStore
import Postgres
import TestSupport
import Testing

@testable import Scheduler

/// What the scheduler's metrics say of jobs' last runs.
@Suite("Records of jobs in the scheduler's metrics", .timeLimit(.minutes(1)))
struct JobRecordsTests {
    private static let quiet = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
    private static let now = Date(timeIntervalSince1970: 1_800_000_000)

    /// The lines of the page that a scheduler has which begins now.
    private func lines(_ shop: Shop) async throws -> [String] {
        let registry = MetricsRegistry()
        let records = JobRecords(
            jobs: ["audit", "clean"],
            store: JobRunStore(shop.pool),
            metrics: JobRecordMetrics(registry),
            logger: Self.quiet
        )
        try await records.look(at: Self.now)
        return registry.render().split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
    }

    /// So many minutes ago.
    private func save(_ job: String, _ minutes: Int, _ result: String, missed: Int = 0, in shop: Shop) async throws {
        let script = """
            INSERT INTO job_runs (job, scheduled_for, started_at, finished_at, result, missed, owner, fence, heartbeat_at)
            SELECT '\(job)', t, t, CASE WHEN '\(result)' <> 'running' THEN t + interval '1 s' END, '\(result)', \(missed),
                gen_random_uuid(), nextval('job_run_fence'), t
            FROM (SELECT to_timestamp(\(Int(Self.now.timeIntervalSince1970) - 60 * minutes)) AS t) AS time
            """
        let connection = try await shop.connect()
        try await connection.execute(script: script, deadline: .now + Shop.timeout)
        await connection.close()
    }

    @Test("a scheduler that begins knows how the last runs ended, and says nothing of jobs that had none")
    func records() async throws {
        try await Shop.withShop { shop in
            #expect(try await lines(shop).isEmpty)
            try await save("audit", 50, "ok", in: shop)
            try await save("clean", 2_000, "missed", in: shop)
            // A clock that was wrong once.
            try await save("audit", -500, "failed", missed: 1, in: shop)
            #expect(
                try await lines(shop) == [
                    #"scheduler_job_last_run_success{job="audit"} 1"#,
                    #"scheduler_job_last_success_timestamp_seconds{job="audit"} 1799997001"#,
                ]
            )
            try await save("audit", 40, "failed", missed: 3, in: shop)
            try await save("audit", 35, "missed", in: shop)
            // Of these nothing is known yet, or nothing was run.
            try await save("audit", 30, "replaced", in: shop)
            try await save("audit", 20, "skipped", in: shop)
            try await save("audit", 10, "running", in: shop)
            #expect(
                try await lines(shop) == [
                    #"scheduler_job_last_missed_timestamp_seconds{job="audit"} 1799997900"#,
                    #"scheduler_job_last_run_success{job="audit"} 0"#,
                    #"scheduler_job_last_success_timestamp_seconds{job="audit"} 1799997001"#,
                ]
            )
            for (minutes, result) in [(5, "lost"), (4, "timed_out")] {
                try await save("clean", minutes, result, in: shop)
                #expect(try await lines(shop).contains(#"scheduler_job_last_run_success{job="clean"} 0"#))
            }
            try await save("clean", 3, "ok", in: shop)
            #expect(try await lines(shop).contains(#"scheduler_job_last_run_success{job="clean"} 1"#))
        }
    }
}
