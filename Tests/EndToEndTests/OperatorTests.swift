import Foundation
import Testing

/// What an operator sees.
@Suite("Lag and doctor end to end", .serialized, .timeLimit(.minutes(5)))
struct OperatorTests {
    @Test("lag says where events wait while the platform is down, and that nothing is delivered without a consumer")
    func lag() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 1_000)
            let quiet: LagAnswer = try await system.orderctl(["lag"])
            #expect(quiet.stages.map(\.stage) == ["outbox", "ready", "unacked", "retry", "dlq"])
            #expect(quiet.waiting == 0)

            try await system.setFault(#"{"mode":"down","status":503}"#)
            let orders = try await system.placeOrders(20, user, of: product)
            try await system.eventually("lag shows all events", within: .seconds(20)) {
                let lag: LagAnswer = try await system.orderctl(["lag"])
                return lag.waiting >= 20 && lag.messages("dlq") == 0
            }
            try await system.stop(.consumer)
            let stopped: LagAnswer = try await system.orderctl(["lag"])
            #expect(stopped.status == "stop" && stopped.problems.count == 1)
            let text = try await system.orderctl(text: ["lag"])
            #expect(text.contains("! the consumer cannot be reached") && text.contains("dead letters"))
            try await system.start([.consumer])
            try await system.setFault(#"{"mode":"ok"}"#)
            try await system.eventually("all events are at the platform", within: EndToEndTests.recoveryTime) {
                try await Set(system.events().map(\.subject)) == orders
            }
        }
    }

    @Test("the doctor finds a fresh system well, and says what is wrong with a broken one")
    func doctor() async throws {
        try await System.with { system in
            try await system.eventually("the system is well", within: .seconds(10)) {
                try await system.examined().healthy
            }
            let well = try await system.examined()
            #expect(well.checks.allSatisfy { $0.verdict == "ok" || $0.verdict == "unknown" }, "\(well)")
            #expect(
                Set(well.checks.map(\.check)).isSuperset(
                    of: [
                        "postgresql", "durability", "clock", "migrations", "transactions", "relay", "rabbitmq",
                        "topology", "bindings", "alarms", "consumers", "redis", "data platform",
                    ]
                )
            )
            let broker = try system.management()
            try await broker.delete("/bindings/{vhost}/e/order.events/q/dataplatform.forward.v1/order.%2523")
            try await broker.delete("/queues/{vhost}/dataplatform.retry.300000.v1")
            let ill = try await system.examined()
            #expect(!ill.healthy)
            #expect(ill.failed == ["bindings", "topology"], "\(ill)")
            #expect(ill.checks.allSatisfy { $0.verdict == "ok" || $0.verdict == "unknown" || $0.advice != nil })
            try await system.refuses(["doctor"], 1, "checks failed")
            // Declared anew by who connects.
            try await system.stop(.consumer)
            #expect(try await system.examined().failed.contains("consumers"))
            try await system.start([.consumer])
            try await system.eventually("the system is well again", within: .seconds(10)) {
                try await system.examined().healthy
            }
        }
    }
}

/// `orderctl lag --format json`
private struct LagAnswer: Decodable {
    struct Stage: Decodable {
        let stage: String
        let messages: Int?
    }

    let status: String
    let stages: [Stage]
    let problems: [String]

    func messages(_ stage: String) -> Int { stages.first { $0.stage == stage }?.messages ?? 0 }

    var waiting: Int { ["outbox", "ready", "unacked", "retry"].reduce(0) { $0 + messages($1) } }
}

/// `orderctl doctor --format json`
private struct Examined: Decodable {
    struct Check: Decodable {
        let check: String
        let verdict: String
        let finding: String
        let advice: String?
    }

    let healthy: Bool
    let checks: [Check]

    /// The names of the checks that failed.
    var failed: [String] {
        Set(checks.lazy.filter { $0.verdict == "fail" }.map(\.check)).sorted()
    }
}

extension System {
    fileprivate func examined() async throws -> Examined {
        let child = try child(["doctor", "--format", "json"])
        _ = try await child.exitCode(within: .seconds(30))
        let line = child.log.split(separator: "\n").first { $0.hasPrefix("{") } ?? ""
        return try JSONDecoder().decode(Examined.self, from: Data(line.utf8))
    }
}
