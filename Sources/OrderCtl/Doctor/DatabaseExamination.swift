import Foundation
import Operations
import OrderStore
import Postgres
import ServiceRuntime

/// Looks at PostgreSQL.
struct DatabaseExamination {
    private static let timeout = Duration.seconds(10)
    /// Among so many runs each job's last one is looked for.
    private static let runsLookedAt = 500
    /// Clocks that differ more make delays and times of different machines hard to compare.
    private static let skewWarningSeconds = 0.5
    private static let skewFailureSeconds = 5.0
    /// Longer than any transaction of ours takes.
    private static let idleWarningSeconds = 10.0
    private static let idleFailureSeconds = 60.0
    private static let transactionWarningSeconds = 120.0
    private static let transactionFailureSeconds = 900.0

    private let configuration: PostgresConfiguration
    private let migrationsFolder: String

    init(_ settings: Settings) throws {
        configuration = try ownerDatabase(settings)
        migrationsFolder = try settings.string("MIGRATIONS_DIR", default: "sql/migrations")
    }

    func findings() async -> [Finding] {
        do {
            let connection = try await PostgresConnection.connect(configuration, deadline: .now + Self.timeout)
            var findings = try await server(connection)
            findings.append(try await migrations(connection))
            findings.append(try await transactions(connection))
            findings.append(try await horizon(connection))
            findings.append(try await relay(connection))
            findings.append(try await parked(connection))
            findings.append(try await schedule())
            await connection.close()
            return findings
        } catch {
            return [.fail("postgresql", "\(error)", "start it, or correct DATABASE_URL; until then no order is taken")]
        }
    }

    private func server(_ connection: PostgresConnection) async throws -> [Finding] {
        let before = Date()
        let server = try await DatabaseHealth.server(on: connection, deadline: .now + Self.timeout)
        let roundTrip = Date().timeIntervalSince(before)
        let off = server.durability.filter { $0.value != "on" }.keys.sorted()
        let durability: Finding =
            off.isEmpty
            ? .ok("durability", "fsync, full_page_writes and synchronous_commit are on")
            : .fail(
                "durability",
                "off: \(off.joined(separator: ", "))",
                "turn it on: what was answered 201 can be lost when the machine fails"
            )
        let reached = "version \(server.version), answers in \(spoken(seconds: roundTrip))"
        return [.ok("postgresql", reached), durability, clock(server.now, between: before, and: Date())]
    }

    private func clock(_ server: Date, between before: Date, and after: Date) -> Finding {
        // The server looked at its clock at some moment in between.
        let skew = server < before ? before.timeIntervalSince(server) : max(0, server.timeIntervalSince(after))
        let finding = "PostgreSQL's clock and this machine's differ by \(spoken(seconds: skew))"
        let advice = "run an NTP client (chrony) on both machines"
        if skew > Self.skewFailureSeconds { return .fail("clock", finding, advice) }
        return skew > Self.skewWarningSeconds ? .warn("clock", finding, advice) : .ok("clock", finding)
    }

    private func migrations(_ connection: PostgresConnection) async throws -> Finding {
        let version = try await DatabaseHealth.schemaVersion(on: connection, deadline: .now + Self.timeout)
        guard let newest = try? Migration.load(from: migrationsFolder).map(\.version).max() else {
            return .unknown("migrations", "the schema has version \(version)", "set MIGRATIONS_DIR to compare")
        }
        if version == newest { return .ok("migrations", "the schema has the newest version, \(version)") }
        return .fail(
            "migrations",
            "the schema has version \(version), the newest is \(newest)",
            version < newest ? "orderctl migrate" : "use an orderctl and MIGRATIONS_DIR as new as the schema"
        )
    }

    private func transactions(_ connection: PostgresConnection) async throws -> Finding {
        guard
            let sessions = try await DatabaseHealth.oldestTransactions(on: connection, deadline: .now + Self.timeout)
        else {
            return .unknown(
                "transactions",
                "this role may not see other sessions",
                "as a superuser: GRANT pg_read_all_stats TO jumun_owner"
            )
        }
        let worst = sessions.map { (session: $0, verdict: Self.verdict(on: $0)) }
            .max { Self.rank($0.verdict) < Self.rank($1.verdict) }
        guard let worst, worst.verdict != .ok else {
            let oldest = sessions.first.map { "; the oldest is \(spoken(seconds: $0.seconds)) old" } ?? ""
            return .ok("transactions", "\(sessions.count) open\(oldest)")
        }
        let session = worst.session
        let finding =
            "\(session.application) (\(session.user), pid \(session.pid)) is \(session.state) for "
            + spoken(seconds: session.seconds)
        let advice = "it keeps old row versions alive; end it: SELECT pg_terminate_backend(\(session.pid))"
        return Finding(check: "transactions", verdict: worst.verdict, finding: finding, advice: advice)
    }

    private static func verdict(on session: DatabaseHealth.Session) -> Finding.Verdict {
        let (warning, failure) =
            session.isIdle
            ? (idleWarningSeconds, idleFailureSeconds) : (transactionWarningSeconds, transactionFailureSeconds)
        if session.seconds > failure { return .fail }
        return session.seconds > warning ? .warn : .ok
    }

    private static func rank(_ verdict: Finding.Verdict) -> Int {
        switch verdict {
        case .ok, .unknown: 0
        case .warn: 1
        case .fail: 2
        }
    }

    private func horizon(_ connection: PostgresConnection) async throws -> Finding {
        let horizon = try await DatabaseHealth.horizon(on: connection, deadline: .now + Self.timeout)
        if let seconds = horizon.oldestPreparedSeconds, seconds > Self.idleFailureSeconds {
            return .fail(
                "vacuum",
                "\(horizon.preparedTransactions) prepared transactions, the oldest for \(spoken(seconds: seconds))",
                "COMMIT PREPARED or ROLLBACK PREPARED those of pg_prepared_xacts: Jumun makes none"
            )
        }
        if horizon.inactiveSlots > 0 {
            return .warn(
                "vacuum",
                "\(horizon.inactiveSlots) replication slots that nobody reads from",
                "drop those of pg_replication_slots that are not needed: they keep WAL and old row versions"
            )
        }
        return .ok("vacuum", "no prepared transactions, no forgotten replication slots")
    }

    private func relay(_ connection: PostgresConnection) async throws -> Finding {
        let shards = try await DatabaseHealth.relayedShards(on: connection, deadline: .now + Self.timeout)
        let all = OutboxStore.shards.count
        if shards == all { return .ok("relay", "all \(all) shards of the outbox have a relay") }
        if shards == 0 {
            return .fail("relay", "no shard of the outbox has a relay", "start order-api: the relay lives in it")
        }
        return .warn(
            "relay",
            "\(shards) of \(all) shards of the outbox have a relay",
            "look again in a few seconds; if it stays so, look for errors in order-api's log"
        )
    }

    private func parked(_ connection: PostgresConnection) async throws -> Finding {
        let count = try await OutboxStore.parkedCount(on: connection, deadline: .now + Self.timeout)
        guard count > 0 else { return .ok("parked events", "none") }
        return .warn(
            "parked events",
            "\(grouped(Int(count))) that RabbitMQ can never take wait for a person",
            "orderctl parked list says why; then parked redrive or parked purge"
        )
    }

    /// The last runs of the scheduler's jobs.
    private func schedule() async throws -> Finding {
        let pool = PostgresPool(configuration: configuration, maximumConnections: 1, logger: OrderCtl.silence)
        let history = try await JobRunStore(pool).history(
            of: nil,
            limit: Self.runsLookedAt,
            deadline: .now + Self.timeout
        )
        await pool.close()
        let runs = Dictionary(grouping: history, by: \.job).compactMap { $0.value.first }
        guard !runs.isEmpty else { return .unknown("schedule", "no job has run yet") }
        let failed = runs.filter { $0.result == .failed || $0.result == .timedOut }.map(\.job).sorted()
        if !failed.isEmpty {
            return .warn(
                "schedule",
                "the last run failed of: \(failed.joined(separator: ", "))",
                "look into job_runs, column detail, and into the scheduler's log"
            )
        }
        let latest = runs.map(\.startedAt).max() ?? .distantPast
        let ago = spoken(seconds: Date().timeIntervalSince(latest))
        return .ok("schedule", "\(runs.count) jobs; the last one began \(ago) ago")
    }
}
