import Foundation
import Testing

extension EndToEndTests {
    /// A call with a key, a body that it refuses and one that it takes.
    private struct KeyedCall {
        let path: String
        let wrong: String
        let right: String
    }

    @Test("a refusal before anything is begun is remembered under its key, whatever is called")
    func remembersRefusals() async throws {
        try await System.with { system in
            let (user, other) = (try await system.createUser(), try await system.createUser())
            let product = try await system.createProduct(stock: 10)
            let order: Order = try await system.placeOrder(user, [(product.id, 1)]).decoded()
            let lines = #""items":[{"productId":\#(product.id),"quantity":1}]"#
            let calls = [
                KeyedCall(
                    path: "/v1/orders",
                    wrong: #"{"userId":\#(user),"items":[]}"#,
                    right: #"{"userId":\#(user),\#(lines)}"#
                ),
                KeyedCall(path: "/v1/users/\(user)/balance/charges", wrong: "{}", right: #"{"amount":100}"#),
                KeyedCall(path: "/v1/products", wrong: #"{"name":1}"#, right: #"{"name":"Tea","price":1,"stock":1}"#),
                KeyedCall(
                    path: "/v1/products/\(product.id)/stock-adjustments",
                    wrong: #"{"delta":0,"reason":"none"}"#,
                    right: #"{"delta":5,"reason":"delivery"}"#
                ),
                KeyedCall(path: "/v1/orders/\(order.id)/cancel", wrong: #"{"reason":7}"#, right: "{}"),
                KeyedCall(
                    path: "/v1/orders/\(order.id)/transitions",
                    wrong: #"{"to":"LOST"}"#,
                    right: #"{"to":"PREPARING"}"#
                ),
            ]
            for call in calls {
                let key = try await expectRemembered(call.path, call.wrong, 422, "validation_failed", system)
                let right = try await system.api.post(call.path, call.right, headers: key)
                try refused(right, 422, "idempotency_key_reused")
                try await expectRemembered(call.path, "{", 400, "malformed_body", system)
            }
            // Whatever cannot be told whose it is, or what it is of.
            try await expectRemembered("/v1/orders", #"{"items":[]}"#, 422, "validation_failed", system)
            try await expectRemembered("/v1/users/x/balance/charges", "{}", 404, "user_not_found", system)
            try await expectRemembered("/v1/products/0/stock-adjustments", "{}", 404, "product_not_found", system)
            for name in ["none", UUID().uuidString] {
                try await expectRemembered("/v1/orders/\(name)/cancel", "{}", 404, "order_not_found", system)
            }
            try await expectKeysOfTheirUsers(user, other, lines: lines, system)

            // Of all this one order alone was done.
            #expect(try await system.product(product.id).stock == 8)
            #expect(try await system.api.get("/v1/orders/\(order.id)").decoded(as: Order.self) == order)
            #expect(try await system.api.get("/v1/users/\(user)").decoded(as: User.self).balance == 999_997_000)
        }
    }

    /// Sends a request twice with one key, which it returns.
    @discardableResult
    private func expectRemembered(
        _ path: String,
        _ body: String,
        _ status: UInt,
        _ code: String,
        _ system: System
    ) async throws -> [String: String] {
        let key = ["idempotency-key": UUID().uuidString]
        let first = try await system.api.post(path, body, headers: key)
        try refused(first, status, code)
        #expect(first.header("idempotency-replayed") == nil)
        let second = try await system.api.post(path, body, headers: key)
        #expect((second.status, second.body) == (status, first.body), "\(path) \(body)")
        #expect(second.header("idempotency-replayed") == "true", "\(path) \(body)")
        #expect(second.header("content-type") == "application/problem+json")
        return key
    }

    /// The key of one user's refused request is free for another user.
    private func expectKeysOfTheirUsers(_ user: Int64, _ other: Int64, lines: String, _ system: System) async throws {
        let wrong = #"{"userId":\#(user),"items":[]}"#
        let key = try await expectRemembered("/v1/orders", wrong, 422, "validation_failed", system)
        let answer = try await system.api.post("/v1/orders", #"{"userId":\#(other),\#(lines)}"#, headers: key)
        #expect((answer.status, answer.header("idempotency-replayed")) == (201, nil), "\(answer.body)")
    }

    @Test("of many requests with one key at once one is refused, and the others are told the same")
    func remembersOnce() async throws {
        try await System.with { system in
            let product = try await system.createProduct(stock: 10)
            let key = ["idempotency-key": "at-once"]
            // Refused before anything is begun; refused by the stock; done.
            for (path, body, status) in [
                ("/v1/orders", #"{"items":[]}"#, 422),
                ("/v1/products/\(product.id)/stock-adjustments", #"{"delta":-11,"reason":"broken"}"#, 409),
                ("/v1/products", #"{"name":"Cup","price":1,"stock":1}"#, 201),
            ] as [(String, String, UInt)] {
                let key = key.mapValues { "\($0)-\(status)" }
                let answers = try await system.atOnce(20) { _ in try await system.api.post(path, body, headers: key) }
                #expect(Set(answers.map(\.status)) == [status])
                #expect(Set(answers.map(\.body)).count == 1)
                #expect(answers.count { $0.header("idempotency-replayed") == "true" } == 19)
            }
        }
    }

    @Test("a key that is none is refused, and nothing is done or remembered")
    func refusesWrongKeys() async throws {
        try await System.with { system in
            let user = try await system.createUser(balance: 0)
            let path = "/v1/users/\(user)/balance/charges"
            for key in ["two words", String(repeating: "k", count: 256), ""] {
                for body in [#"{"amount":5}"#, "{}"] {
                    let answer = try await system.api.post(path, body, headers: ["idempotency-key": key])
                    let errors = try refused(answer, 422, "validation_failed").errors
                    #expect(errors?.map(\.field) == ["Idempotency-Key"], "\(answer.body)")
                }
            }
            #expect(try await system.api.get("/v1/users/\(user)").decoded(as: User.self).balance == 0)
        }
    }
}
