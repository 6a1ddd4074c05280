import Foundation
import Postgres
import TestSupport
import Testing

extension EndToEndTests {
    /// How soon a sale is to be seen while the aggregator follows.
    private static let followTime = Duration.seconds(2)

    @Test("while the aggregator follows, a sale is in the list within 2 s, whatever happens to Redis and PostgreSQL")
    func follow() async throws {
        try await System.with { system in
            try await system.start([.aggregator])
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 1_000)
            var sold: Int64 = 0
            for number in 1...4 as ClosedRange<Int64> {
                #expect(try await system.placeOrder(user, [(product.id, number)]).status == 201)
                sold += number
                try await system.expectPopular([sold], within: Self.followTime)
            }
            try await system.flushRedis()
            try await system.expectPopular([sold], within: .seconds(4))

            try await shutDownPostgres()
            try await system.eventually("an order is taken", within: Self.recoveryTime) {
                try await system.placeOrder(user, [(product.id, 5)]).status == 201
            }
            try await system.expectPopular([sold + 5], within: Self.recoveryTime)
            let page = try await system.metrics(of: .aggregator)
            for name in [
                #"popular_aggregation_runs_total{trigger="follow",result="published"}"#,
                "popular_aggregation_duration_seconds_count", "popular_aggregation_last_success_timestamp_seconds",
            ] {
                #expect(page.contains(name), "\(name)")
            }
            #expect(!page.contains("\npopular_aggregation_verify_mismatch"))
            try await system.run("aggregator", ["verify"])
            try await system.eventually("the verification is told", within: .seconds(5)) {
                try await system.metrics(of: .aggregator).contains("\npopular_aggregation_verify_mismatch 0")
            }
            // A run a sale, and a few for the minutes that passed: none for every second.
            #expect(try await system.countRuns() < 15)
        }
    }

    @Test("an aggregator that stood still between its commit and its publication never overwrites a newer list")
    func lateAggregator() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 10)
            #expect(try await system.placeOrder(user, [(product.id, 1)]).status == 201)
            let address = try TestDatabase.address(of: system.servers.redisURL)
            let proxy = try FaultProxy(host: address.host, port: address.port)
            defer { proxy.stop() }
            proxy.pause()
            var settings = try system.settings(of: "aggregator")
            settings["REDIS_URL"] = try TestDatabase.url(system.servers.redisURL, throughPort: proxy.port)
            let late = try ChildProcess("aggregator", ["run"], settings: settings, logFolder: system.folder)
            defer { late.kill() }
            try await system.eventually("the late run is committed", within: .seconds(20)) {
                try await system.countRuns() == 1
            }
            late.pause()
            #expect(try await system.placeOrder(user, [(product.id, 2)]).status == 201)
            try await system.run("aggregator", ["run"])
            try await system.expectPopular([3], within: .seconds(2))
            proxy.resume()
            late.resume()
            #expect(try await late.exitCode(within: .seconds(20)) == 0, "\(late.report)")
            #expect(late.log.contains("no, a newer run stands"), "\(late.report)")
            try await system.expectPopular([3], within: .seconds(2))
            let list = try await system.popular("limit=5")
            #expect((list.source, list.data.map(\.quantity)) == ("redis", [3]))

            try await system.run("aggregator", ["run"])
            // As if the files of the database had been put back to an earlier time.
            try await system.execute(
                "DELETE FROM aggregation_runs WHERE id > 1; ALTER TABLE aggregation_runs ALTER id RESTART 2"
            )
            try await expectExit(69, ["rebuild"], saying: "run 3 stands there, which this database does not", system)
        }
    }

    @Test("an aggregator that is killed in the middle of a long statement soon makes room for the next run")
    func killedRun() async throws {
        try await System.with([]) { system in
            try await system.run(
                script: """
                    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql
                        AS 'BEGIN PERFORM pg_sleep(90); RETURN NEW; END';
                    CREATE TRIGGER wait BEFORE INSERT ON aggregation_runs
                        FOR EACH ROW WHEN (NEW.trigger = 'schedule') EXECUTE FUNCTION wait();
                    """
            )
            let killed = try ChildProcess(
                "aggregator",
                ["run", "--trigger", "schedule"],
                settings: system.settings(of: "aggregator"),
                logFolder: system.folder
            )
            try await system.eventually("it waits", within: .seconds(20)) {
                try await system.rows(RankingStatements.waiting).first?.get("waits", as: Bool.self) == true
            }
            killed.kill()
            try await system.eventually("another run can be made", within: .seconds(20)) {
                let next = try ChildProcess(
                    "aggregator",
                    ["run"],
                    settings: system.settings(of: "aggregator"),
                    logFolder: system.folder
                )
                return try await next.exitCode(within: .seconds(20)) == 0
            }
        }
    }

    @Test("a run without Redis is kept, served from PostgreSQL, and published by the next")
    func runWithoutRedis() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 10)
            let other = try await system.createProduct(name: "Cup", stock: 10)
            #expect(try await system.placeOrder(user, [(product.id, 2), (other.id, 3)]).status == 201)
            var settings = try system.settings(of: "aggregator")
            settings["REDIS_URL"] = "redis://:x@127.0.0.1:1/0"
            let child = try ChildProcess("aggregator", ["run"], settings: settings, logFolder: system.folder)
            #expect(try await child.exitCode(within: .seconds(20)) == 69, "\(child.report)")
            let kept = try await system.popular("by=quantity")
            #expect((kept.source, kept.stale, kept.data.map(\.quantity)) == ("postgres", true, [3, 2]))
            try await system.run("aggregator", ["run"])
            try await system.eventually("the list comes from Redis", within: .seconds(2)) {
                let list = try await system.popular("")
                return list.source == "redis" && !list.stale && list.data.map(\.quantity) == [3, 2]
            }
            // At once, without a run.
            let gone = try await system.api.send(
                "PATCH",
                "/v1/products/\(other.id)",
                body: #"{"status":"DISCONTINUED"}"#
            )
            #expect(gone.status == 200)
            try await system.expectPopular([2], within: .seconds(1))
        }
    }

    @Test("the aggregator's commands say what is kept, what is wrong with it, and put it right")
    func aggregatorCommands() async throws {
        try await System.with { system in
            #expect(try await system.run("aggregator", ["runs"]).contains("no run yet"))
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 10)
            #expect(try await system.placeOrder(user, [(product.id, 4)]).status == 201)
            let report = try await system.run("aggregator", ["run", "--window", "calendar"])
            for line in [
                "run               1", "rows read         1", "products touched  1", "window            calendar",
            ] {
                #expect(report.contains(line), "\(report)")
            }
            let json = try await system.run("aggregator", ["run", "--format", "json", "--trigger", "schedule"])
            let run = try JSONDecoder().decode(RunAnswer.self, from: Data(json.utf8))
            #expect((run.run, run.rowsRead, run.published, run.windowMode) == (2, 0, true, "rolling"))
            #expect(try await system.run("aggregator", ["verify"]).contains("differences  0"))

            try await system.execute("UPDATE sales_window SET quantity = 5")
            try await expectExit(1, ["verify"], saying: "1 values are wrong", system)
            let difference = try await system.run("aggregator", ["rebuild", "--dry-run"])
            #expect(difference.contains("total  product 1  4 for 12000      5 for 12000"), "\(difference)")
            try await system.run("aggregator", ["rebuild"])
            try await system.run("aggregator", ["verify"])
            let runs = try await system.run("aggregator", ["runs", "--limit", "3"])
            #expect(runs.split(separator: "\n").count == 4 && runs.contains("1 wrong"), "\(runs)")

            try await system.execute("SELECT pg_advisory_lock(7002)") {
                try await expectExit(75, ["run"], saying: "another run is going on", system)
                try await expectExit(75, ["rebuild"], saying: "another run is going on", system)
            }
            try await expectExit(64, ["run", "--window", "weekly"], saying: "weekly", system)

            // As a dump of another cluster, in which more has happened, brings it.
            try await system.execute("UPDATE sales_ledger SET txid = '99999999'")
            try await system.run("aggregator", ["run"])
            try await expectExit(1, ["verify"], saying: "orderctl freeze-ledger", system)
            let frozen = try await system.run("orderctl", ["freeze-ledger"])
            #expect(frozen.contains("1 rows frozen"), "\(frozen)")
            try await system.run("aggregator", ["run"])
            try await system.run("aggregator", ["verify"])
        }
    }

    private struct RunAnswer: Decodable {
        let run: Int64
        let rowsRead: Int64
        let published: Bool
        let windowMode: String
        let durationMs: Int64
    }

    private func expectExit(_ code: Int32, _ arguments: [String], saying text: String, _ system: System) async throws {
        let child = try ChildProcess(
            "aggregator",
            arguments,
            settings: system.settings(of: "aggregator"),
            logFolder: system.folder
        )
        #expect(try await child.exitCode(within: .seconds(20)) == code, "\(child.report)")
        #expect(child.log.contains(text), "\(child.report)")
    }
}

extension System {
    /// Waits until the list has these quantities, from Redis.
    fileprivate func expectPopular(_ quantities: [Int64], within time: Duration) async throws {
        try await eventually("the list has \(quantities)", within: time) {
            guard let list = try? await popular("limit=5") else { return false }
            return list.source == "redis" && list.data.map(\.quantity) == quantities
        }
    }

    /// Runs a script as the owner, and keeps its session open for the body.
    fileprivate func execute(_ script: String, _ body: () async throws -> Void = {}) async throws {
        let connection = try await PostgresConnection.connect(
            PostgresConfiguration(url: servers.databaseURL(as: "jumun_owner"), applicationName: "tests"),
            deadline: .now + .seconds(10)
        )
        try await connection.execute(script: script, deadline: .now + .seconds(10))
        try await body()
        await connection.close()
    }

    fileprivate func countRuns() async throws -> Int64 {
        let connection = try await PostgresConnection.connect(
            PostgresConfiguration(url: servers.databaseURL(as: "jumun_owner"), applicationName: "tests"),
            deadline: .now + .seconds(10)
        )
        let rows = try await connection.query(
            SQLStatement("ranking_tests_runs", "SELECT count(*) AS count FROM aggregation_runs"),
            deadline: .now + .seconds(10)
        )
        await connection.close()
        return try rows[0].get("count")
    }

    fileprivate func flushRedis() async throws {
        try await servers.emptyRedis()
    }

    fileprivate func metrics(of service: Service) async throws -> String {
        try await web(of: service).get("/metrics").body
    }
}

private enum RankingStatements {
    static let waiting = SQLStatement(
        "ranking_tests_waiting",
        """
        SELECT EXISTS (
            SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'
        ) AS waits
        """
    )
}
