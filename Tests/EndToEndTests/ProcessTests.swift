import Foundation
import Testing

extension EndToEndTests {
    @Test("the scheduler runs the aggregator when its minute comes, tells of the run, and stops on SIGTERM")
    func scheduler() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 10)
            let order = try await system.placeOrder(user, [(product.id, 4)])
            #expect(order.status == 201)

            let command = #"["aggregator", "run", "--trigger", "schedule"]"#
            try system.schedule("popular-products", command)
            try await system.start([.scheduler])
            try await system.eventually("the popular list shows what was sold", within: .seconds(75)) {
                let popular = try await system.popular("limit=1")
                return popular.source == "redis" && popular.data.first?.quantity == 4
            }
            for sample in [
                #"popular_aggregation_runs_total{trigger="schedule",result="published"} 1"#,
                "popular_aggregation_duration_seconds_count 1",
                "popular_aggregation_last_success_timestamp_seconds 1",
                #"scheduler_job_last_run_success{job="popular-products"} 1"#,
            ] {
                try await system.eventually("/metrics has \(sample)", within: .seconds(10)) {
                    try await system.web(of: .scheduler).get("/metrics").body.contains(sample)
                }
            }
            try await system.stop(.scheduler)
        }
    }

    /// Each executable that cannot do without a setting, with one of these settings.
    static let required = [
        ("order-api", ["serve"], "DATABASE_URL"),
        ("consumer", ["run"], "AMQP_URL"),
        ("aggregator", ["run"], "DATABASE_URL"),
        ("scheduler", ["run"], "DATABASE_URL"),
        ("orderctl", ["migrate"], "DATABASE_URL"),
    ]

    @Test(
        "a process without a setting that it needs exits with 78 and one line that names the setting",
        arguments: required
    )
    func missingSetting(name: String, arguments: [String], key: String) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "jumun-e2e-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        // What it needs besides, so that the missing one is what it complains about; nothing listens on port 1.
        var settings = [
            "DATABASE_URL": "postgres://jumun:jumun@127.0.0.1:1/jumun",
            "AMQP_URL": "amqp://jumun:jumun@127.0.0.1:1/jumun",
            "REDIS_URL": "redis://:jumun@127.0.0.1:1/0", "PLATFORM_URL": "http://127.0.0.1:1",
            "MIGRATIONS_DIR": try TestEnvironment.required("JUMUN_TEST_MIGRATIONS_DIR"),
        ]
        settings[key] = nil
        let child = try ChildProcess(name, arguments, settings: settings, logFolder: folder)
        let code = try await child.exitCode(within: .seconds(10))
        child.kill()
        #expect(code == 78, "\(child.report)")
        let lines = child.log.split(separator: "\n")
        #expect(lines.count == 1, "\(child.report)")
        #expect(lines.first?.contains("\(key) is not set") == true, "\(child.report)")
    }
}
