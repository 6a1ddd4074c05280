import ArgumentParser
import Foundation
import OrderStore
import Postgres
import ServiceRuntime

/// `orderctl replay`
struct Replay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Send past orders again, as live orders through the API.",
        discussion: """
            Takes the file of `orderctl import`. Users and products that are not known yet are made; what the orders \
            need is charged and put in stock first. Orders then go out at their rate, whether or not the answers come. \
            Each has an Idempotency-Key of its reference, so that a replay said twice within a day orders once. \
            Orders with more than 50 products, or more than 1,000 pieces of one, are left out: the API takes none such.

            \(OrderCtl.environment)
              API_URL         http://host:port of order-api; default \(Replay.defaultAPI)
              ADMIN_TOKEN     sent as bearer token where it is set
            """
    )

    private static let defaultAPI = "http://127.0.0.1:8080"
    static let limits = 1...1_000_000

    @Argument(help: "CSV file of past orders.")
    var file: String

    @Option(help: "Orders in a second, above 0 and up to 100,000.")
    var rate: Double

    @Option(help: "The API's address; default $API_URL.")
    var api: String?

    @Option(help: "How many orders at most, 1 to 1,000,000.")
    var limit = Replay.limits.upperBound

    @Option(help: "text or json.")
    var format = OrderCtl.Format.text

    func validate() throws {
        guard rate > 0, rate <= 100_000 else { throw ValidationError("--rate must be above 0 and up to 100000") }
        guard Replay.limits.contains(limit) else { throw ValidationError("--limit must be from 1 to 1000000") }
        if let api, !api.hasPrefix("http://"), !api.hasPrefix("https://") {
            throw ValidationError("--api must be http://host:port")
        }
    }

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, _ in
            let base = try api ?? settings.url("API_URL", default: Replay.defaultAPI, schemes: ["http", "https"])
            let token = try settings.secret("ADMIN_TOKEN", default: "")
            let report = try await ShopClient.with(base: base, token: token) { client in
                let replayer = Replayer(path: file, limit: limit, rate: rate, database: try ownerDatabase(settings))
                return try await replayer.run(client)
            }
            switch format {
            case .text: print(report.text)
            case .json: print(try report.json())
            }
            guard report.failed == 0 else {
                throw ProcessFailure("\(report.failed) of \(report.sent) orders were not taken")
            }
        }
    }
}

/// Two passes over the file: what the orders need, and the orders.
struct Replayer {
    private static let timeout = Duration.seconds(120)
    private static let connectTimeout = Duration.seconds(10)
    /// How many users and products may take part; their needs are kept in memory.
    private static let maximumParties = 1_000_000
    /// Requests under way at once; when so many wait, further orders are late, which their latency shows.
    private static let maximumInFlight = 1_000
    /// The same for what is done beforehand.
    private static let maximumPreparing = 16

    let path: String
    let limit: Int
    /// Orders in a second.
    let rate: Double
    let database: PostgresConfiguration

    /// Throws ``CSVFault``, `PostgresError`, and `ProcessFailure` when the needs cannot be met.
    func run(_ client: ShopClient) async throws -> ReplayReport {
        var needs = ReplayNeeds()
        let preparing = try await PostgresConnection.connect(database, deadline: .now + Self.connectTimeout)
        guard try await ImportStore.tryLock(on: preparing, deadline: .now + Self.connectTimeout) else {
            throw ProcessFailure("an import is going on; try again later", exitCode: ExitCode.temporaryFailure)
        }
        try await eachChunk { orders in
            try await ImportStore.addUsersAndProducts(of: orders, on: preparing, deadline: .now + Self.timeout)
            for order in try await self.liveOrders(orders, on: preparing) {
                needs.add(order)
            }
            guard needs.parties <= Self.maximumParties else {
                throw ProcessFailure("more than \(Self.maximumParties) users and products: say less with --limit")
            }
        }
        await preparing.close()
        try await meet(needs, client)
        return try await send(needs.orders, client)
    }

    private func meet(_ needs: ReplayNeeds, _ client: ShopClient) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var running = 0
            for request in needs.requests {
                if running == Self.maximumPreparing {
                    try await group.next()
                    running -= 1
                }
                group.addTask { try await client.prepare(request) }
                running += 1
            }
            try await group.waitForAll()
        }
    }

    private func send(_ total: Int, _ client: ShopClient) async throws -> ReplayReport {
        let connection = try await PostgresConnection.connect(database, deadline: .now + Self.connectTimeout)
        var report = ReplayReport(path: path, rate: rate)
        var progress = ProgressLine()
        let start = ContinuousClock.now
        try await withThrowingTaskGroup(of: ReplayReport.Answer.self) { group in
            var waiting = 0
            try await eachChunk { orders in
                let live = try await self.liveOrders(orders, on: connection)
                report.leftOut += orders.count - live.count
                for order in live {
                    let due = start + .seconds(Double(report.sent) / self.rate)
                    try await Task.sleep(until: due, clock: .continuous)
                    if waiting == Self.maximumInFlight, let answer = try await group.next() {
                        report.add(answer)
                        waiting -= 1
                    }
                    group.addTask { await client.place(order, due: due) }
                    report.sent += 1
                    waiting += 1
                    progress.show(share: Double(report.sent) / Double(max(total, 1)), count: report.sent, of: "orders")
                }
            }
            for try await answer in group { report.add(answer) }
        }
        progress.end()
        report.elapsed = ContinuousClock.now - start
        await connection.close()
        return report
    }

    /// The file's good orders, up to the limit.
    private func eachChunk(_ body: ([ImportStore.Order]) async throws -> Void) async throws {
        let reader = try HistoryReader(path: path, latest: Int64(Date().timeIntervalSince1970 * 1_000))
        var left = limit
        var following: HistoryChunk? = try await reader.next()
        while left > 0, let chunk = following {
            // While its orders go out the next are read, so that none is late for that.
            async let next = chunk.isLast ? nil : reader.next()
            let orders = chunk.orders.prefix(left).map(\.order)
            left -= orders.count
            if !orders.isEmpty { try await body(orders) }
            following = try await next
        }
    }

    private func liveOrders(
        _ orders: [ImportStore.Order],
        on connection: PostgresConnection
    ) async throws -> [LiveOrder] {
        let (users, products) = try await ImportStore.mapping(
            of: orders,
            on: connection,
            deadline: .now + Self.timeout
        )
        return orders.compactMap { LiveOrder($0, users: users, products: products) }
    }
}
