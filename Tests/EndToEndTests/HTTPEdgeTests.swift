import Foundation
import Testing

extension EndToEndTests {
    @Test("a path answers methods it does not have with 405 and Allow; HEAD is GET without a body")
    func otherMethods() async throws {
        try await System.with { system in
            let product = try await system.createProduct(stock: 1)
            let path = "/v1/products/\(product.id)"
            let deleted = try await system.api.send("DELETE", path)
            try isProblem(deleted, 405, "method_not_allowed")
            let allowed = deleted.header("allow")?.components(separatedBy: ", ") ?? []
            #expect(Set(allowed).isSuperset(of: ["GET", "HEAD", "OPTIONS"]) && !allowed.contains("DELETE"))
            let options = try await system.api.send("OPTIONS", path)
            #expect((options.status, options.header("allow")) == (204, deleted.header("allow")))
            let head = try await system.api.send("HEAD", path)
            #expect((head.status, head.body, head.header("etag")) == (200, "", "\"1\""))
            try isProblem(try await system.api.send("DELETE", "/v1/nothing"), 404, "route_not_found")
        }
    }

    @Test("If-Match and If-None-Match are honoured on GET")
    func conditions() async throws {
        try await System.with { system in
            let path = "/v1/products/\(try await system.createProduct(stock: 1).id)"
            let cases: [(String, String, UInt)] = [
                ("if-match", "\"1\"", 200), ("if-match", "*", 200), ("if-match", "\"0\", \"1\"", 200),
                ("if-match", "\"2\"", 412), ("if-match", "W/\"1\"", 412), ("if-match", "1", 412),
                ("if-none-match", "W/\"1\"", 304), ("if-none-match", "\"1\"", 304), ("if-none-match", "\"2\"", 200),
                ("if-none-match", "1", 200),
            ]
            for (name, value, status) in cases {
                let answer = try await system.api.send("GET", path, headers: [name: value])
                #expect(answer.status == status, "\(name): \(value)")
                #expect(answer.header("x-request-id")?.isEmpty == false)
            }
            // Who reads and who changes is told the same.
            let stale = ["if-match": "\"2\""]
            let read = try await system.api.send("GET", path, headers: stale)
            let change = try await system.api.send("PATCH", path, body: #"{"price":1}"#, headers: stale)
            let problem = try refused(read, 412, "precondition_failed")
            #expect(try refused(change, 412, "precondition_failed").detail == problem.detail)
            #expect(problem.detail.contains("\"1\""))
        }
    }

    @Test("what is too large, of the wrong type or malformed is refused with a problem")
    func malformedRequests() async throws {
        try await System.with { system in
            let api = system.api
            let large = #"{"name":""# + String(repeating: "x", count: 65 * 1_024) + #""}"#
            try isProblem(try await api.post("/v1/users", large), 413, "body_too_large")
            let latin = ["content-type": "application/json; charset=iso-8859-1"]
            try isProblem(try await api.post("/v1/users", "{}", headers: latin), 415, "unsupported_media_type")
            try isProblem(try await api.send("POST", "/v1/users"), 415, "unsupported_media_type")
            let long = "/v1/products?q=" + String(repeating: "x", count: 9 * 1_024)
            try isProblem(try await api.get(long), 414, "url_too_long")
            let null = ##"{"name":"a\u0000b","email":"a@example.com"}"##
            try isProblem(try await api.post("/v1/users", null), 422, "validation_failed")
        }
    }

    private func isProblem(
        _ answer: Web.Answer,
        _ status: UInt,
        _ code: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let problem: Problem = try answer.decoded()
        #expect((problem.status, problem.code) == (status, code), sourceLocation: sourceLocation)
        #expect(answer.status == status, sourceLocation: sourceLocation)
        #expect(answer.header("content-type") == "application/problem+json", sourceLocation: sourceLocation)
        #expect(problem.requestId == answer.header("x-request-id"), sourceLocation: sourceLocation)
    }
}
