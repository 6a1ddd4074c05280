import Foundation
import Logging
import OpsMetrics
import OrderDomain
import OrderStore
import Postgres
import TestSupport
import Testing

@testable import Scheduler

/// The ranking's runs, as the scheduler tells of them.
@Suite("Runs of the ranking in the scheduler's metrics", .timeLimit(.minutes(1)))
struct RankingRunsTests {
    private static let quiet = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }

    /// A shop, and what counts in it.
    private struct Stage {
        let shop: Shop
        let registry = MetricsRegistry()
        let runs: RankingRuns

        init(_ shop: Shop) {
            self.shop = shop
            runs = RankingRuns(pool: shop.pool, metrics: RankingMetrics(registry), logger: quiet)
        }

        /// Saves a run; one without a publication stands between its commit and that.
        func save(_ trigger: AggregationRun.Trigger, _ publication: AggregationRun.Publication? = nil) async throws {
            let deadline = ContinuousClock.now + Shop.timeout
            let connection = try await shop.connect()
            let outcome = try await RankingStore.run(
                RankingStore.Request(trigger: trigger),
                on: connection,
                in: try PostgresConfiguration(url: shop.url, applicationName: "scheduler-tests"),
                deadline: deadline
            )
            if let publication {
                try await RankingStore.mark(
                    outcome.run,
                    publication,
                    at: Date(timeIntervalSince1970: 1_800_000_000),
                    on: connection,
                    deadline: deadline
                )
            }
            await connection.close()
        }

        /// The lines of the page for a metric.
        func lines(_ name: String) -> [String] {
            registry.render().split(separator: "\n").map(String.init).filter { $0.hasPrefix(name) }
        }
    }

    @Test("a run counts once, when it is known whether it is published; what follows counts its own")
    func counts() async throws {
        try await Shop.withShop { shop in
            let stage = Stage(shop)
            try await stage.save(.manual, .published)
            // What was there before is no increase, but its time is told.
            #expect(try await stage.runs.look(after: nil, at: .now) == 1)
            #expect(stage.lines("popular_aggregation_runs_total").isEmpty)
            #expect(
                stage.lines("popular_aggregation_last")
                    == ["popular_aggregation_last_success_timestamp_seconds 1800000000"]
            )
            try await stage.save(.schedule, .published)
            try await stage.save(.follow, .published)
            try await stage.save(.manual)
            try await stage.save(.rebuild, .superseded)
            // The fourth may still be published, so nothing behind it counts yet.
            #expect(try await stage.runs.look(after: 1, at: .now) == 3)
            #expect(
                stage.lines("popular_aggregation_runs_total")
                    == [#"popular_aggregation_runs_total{trigger="schedule",result="published"} 1"#]
            )
            #expect(try await stage.runs.look(after: 3, at: .now + 60) == 5)
            #expect(
                stage.lines("popular_aggregation_runs_total")
                    == [
                        #"popular_aggregation_runs_total{trigger="manual",result="unpublished"} 1"#,
                        #"popular_aggregation_runs_total{trigger="rebuild",result="superseded"} 1"#,
                        #"popular_aggregation_runs_total{trigger="schedule",result="published"} 1"#,
                    ]
            )
            #expect(stage.lines("popular_aggregation_duration_seconds_count").first?.hasSuffix(" 3") == true)
        }
    }

    @Test(
        "before the first publication no time is told, nor before the first verification what it found; of a database made anew the numbers begin anew"
    )
    func beginnings() async throws {
        try await Shop.withShop { shop in
            let stage = Stage(shop)
            #expect(try await stage.runs.look(after: nil, at: .now) == 0)
            try await stage.save(.schedule, .failed)
            #expect(try await stage.runs.look(after: 0, at: .now) == 1)
            #expect(stage.lines("popular_aggregation_last").isEmpty)
            #expect(stage.lines("popular_aggregation_verify_mismatch").isEmpty)
            #expect(try await stage.runs.look(after: 77, at: .now) == 1)
            let connection = try await shop.connect()
            try await connection.execute(
                script: "UPDATE aggregation_runs SET verified_at = now(), mismatches = 3",
                deadline: .now + Shop.timeout
            )
            await connection.close()
            #expect(try await stage.runs.look(after: 1, at: .now) == 1)
            #expect(stage.lines("popular_aggregation_verify_mismatch") == ["popular_aggregation_verify_mismatch 3"])
        }
    }
}
