import Foundation
import Testing

extension EndToEndTests {
    private static let crashClients = 32
    /// How many orders go before the crash, and again after it.
    private static let ordersAroundCrash = 300

    @Test("after kill -9 of the order-api under load every order that was answered is there, and each is whole")
    func killedAPI() async throws {
        try await System.with { system in
            try await system.underLoad(clients: Self.crashClients) { load in
                try await expectOrders(load, system)
                try await system.kill(.orderAPI)
                try await system.start([.orderAPI])
                try await expectOrders(load, system)
            }
        }
    }

    @Test("after an immediate shutdown of PostgreSQL under load every order that was answered is there, and is whole")
    func stoppedPostgres() async throws {
        try await System.with { system in
            try await system.underLoad(clients: Self.crashClients) { load in
                try await expectOrders(load, system)
                try await shutDownPostgres()
                try await expectOrders(load, system)
            }
        }
    }

    /// Waits for further orders.
    private func expectOrders(_ load: Load, _ system: System) async throws {
        let before = load.orders
        try await system.eventually("orders are taken", within: Self.recoveryTime) {
            load.orders >= before + Self.ordersAroundCrash
        }
    }

    /// As `pg_ctl stop -m immediate`; the supervisor starts it again, which recovers from the log.
    func shutDownPostgres() async throws {
        let process = Process()
        process.executableURL = URL(filePath: try TestEnvironment.required("JUMUN_TEST_SERVER_CONTROL"))
        process.arguments = ["quit", "postgres"]
        let status = try await withCheckedThrowingContinuation { continuation in
            process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        try #require(status == 0, "server-control quit postgres")
    }
}
