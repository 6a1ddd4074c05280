import Foundation
import Testing

extension EndToEndTests {
    /// How long a server may take to see that a connection is of no use, where nothing has to be waited for.
    private static let promptly = Duration.seconds(5)
    private static let createUser = "POST /v1/users HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

    @Test("senders that are slow are cut off after ten seconds, wherever they are, and hold up nobody")
    func slowSenders() async throws {
        let senders: [(what: String, start: String, drop: String, statuses: [Int])] = [
            ("nothing at all", "", "", []),
            ("a head line by line", "GET /health/live HTTP/1.1\r\n", "X: y\r\n", [408]),
            ("a head byte by byte", "GET ", "x", [408]),
            ("a head, and then nothing", "GET /health/live HTTP/1.1\r\nHost: a\r\n", "", [408]),
            ("a body byte by byte", Self.createUser + "Content-Length: 1000\r\n\r\n{", " ", [408]),
            ("a body in chunks", Self.createUser + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", [408]),
            ("a body that does not come", Self.createUser + "Content-Length: 1000\r\n\r\n", "", [408]),
            (
                "a body that is not promised",
                Self.createUser + "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", "", [100, 408]
            ),
        ]
        try await System.with { system in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for sender in senders {
                    group.addTask {
                        let connection = try RawConnection(system.api)
                        let time = try await drip(sender.start, sender.drop, connection)
                        #expect(connection.isClosed, "\(sender.what)")
                        #expect(connection.statuses == sender.statuses, "\(sender.what): \(connection.text)")
                        #expect(time > .seconds(9) && time < .seconds(15), "\(sender.what): \(time)")
                        if sender.statuses.last == 408 {
                            let problem = try JSONDecoder().decode(Problem.self, from: Data(connection.body.utf8))
                            #expect(problem.code == "request_timeout")
                        }
                    }
                }
                // Meanwhile the others are served.
                for _ in 0..<20 { #expect(try await system.api.get("/v1/products").status == 200) }
                try await group.waitForAll()
            }
            try await expectNoFailure(system)
        }
    }

    /// Sends a drop each 300 ms until the server closes, 20 s at most; says how long it took.
    private func drip(_ start: String, _ drop: String, _ connection: RawConnection) async throws -> Duration {
        let began = ContinuousClock.now
        connection.send(start)
        while !connection.isClosed, began.duration(to: .now) < .seconds(20) {
            if try await connection.wait(within: .milliseconds(300)) { break }
            connection.send(drop)
        }
        return began.duration(to: .now)
    }

    @Test("what is no HTTP is answered with 400 or 431 and closed at once")
    func malformedHTTP() async throws {
        let chunked = Self.createUser + "Transfer-Encoding: chunked\r\n"
        let requests: [(String, Int)] = [
            ("GARBAGE\r\n\r\n", 400), ("GET\r\n\r\n", 400), ("GET / HTTP/9.9\r\n\r\n", 400),
            ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{FC}\u{3}\u{3}", 400),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            ("GET /health/live HTTP/1.1\r\nno colon\r\n\r\n", 400),
            ("GET /health/live HTTP/1.1\r\nX: a\u{0}b\r\n\r\n", 400),
            (Self.createUser + "Content-Length: -1\r\n\r\n", 400),
            (Self.createUser + "Content-Length: many\r\n\r\n", 400),
            (Self.createUser + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
            (Self.createUser + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (chunked + "\r\nzz\r\n{}\r\n", 400), (chunked + "\r\n2\r\n{}xx\r\n", 400), (chunked + "\r\n-2\r\n", 400),
            (chunked + "\r\nFFFFFFFFFFFFFFFFF\r\n", 400),
            ("GET / HTTP/1.1\r\nX: " + String(repeating: "x", count: 20_000) + "\r\n\r\n", 431),
            ("GET / HTTP/1.1\r\n" + String(repeating: "X: y\r\n", count: 200) + "\r\n", 431),
        ]
        try await System.with { system in
            for (request, status) in requests {
                let connection = try RawConnection(system.api)
                connection.send(request)
                #expect(try await connection.wait(within: Self.promptly), "\(request.prefix(80)) hangs")
                #expect(connection.statuses == [status], "\(request.prefix(200)): \(connection.text)")
                let problem = try? JSONDecoder().decode(Problem.self, from: Data(connection.body.utf8))
                #expect(problem?.status == UInt(status), "\(request.prefix(80)): \(connection.text)")
            }
            try await expectNoFailure(system)
        }
    }

    @Test("a client that waits for 100 Continue is told to go on, and one that does not is answered too")
    func expectContinue() async throws {
        try await System.with { system in
            for (number, waits) in [true, false].enumerated() {
                let body = #"{"name":"Mina","email":"mina\#(number)@example.com"}"#
                let connection = try RawConnection(system.api)
                connection.send(
                    Self.createUser + "Connection: close\r\nExpect: 100-continue\r\n"
                        + "Content-Length: \(body.utf8.count)\r\n\r\n"
                )
                if waits {
                    #expect(try await connection.wait(within: Self.promptly) { $0.statuses == [100] })
                }
                connection.send(body)
                #expect(try await connection.wait(within: Self.promptly))
                #expect(connection.statuses == [100, 201], "\(connection.text)")
            }
            try await expectNoFailure(system)
        }
    }

    @Test("a connection that its client has closed halfway is answered if the request was whole, and ends in any case")
    func halfClosed() async throws {
        let whole = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
        let requests: [(String, [[Int]])] = [
            (whole, [[200]]), (whole + whole, [[200, 200]]), ("", [[]]), ("GET /health", [[], [400]]),
            ("GET /health/live HTTP/1.1\r\nHost: a\r\n", [[], [400]]),
            (Self.createUser + "Content-Length: 100\r\n\r\n{", [[], [400]]),
            (Self.createUser + "Transfer-Encoding: chunked\r\n\r\n1\r\n{", [[], [400]]),
        ]
        try await System.with { system in
            for (request, statuses) in requests {
                let connection = try RawConnection(system.api)
                connection.send(request)
                connection.finishSending()
                #expect(try await connection.wait(within: Self.promptly), "\(request) hangs")
                #expect(statuses.contains(connection.statuses), "\(request): \(connection.text)")
            }
            // And those that just go away, at any moment.
            for request in requests.map(\.0) {
                for end in stride(from: 0, through: request.utf8.count, by: 7) {
                    try RawConnection(system.api).send(Array(request.utf8.prefix(end)))
                }
            }
            try await expectNoFailure(system)
        }
    }

    @Test("a URL whose percent-encoding is wrong is answered with 400")
    func malformedURLs() async throws {
        let paths = [
            "/v1/orders/%zz", "/v1/orders/%", "/v1/orders/%4", "/v1/orders/%ff", "/v1/nothing/%zz",
            "/v1/products?cursor=%", "/v1/products?q=%C3", "/v1/products?q=a%2", "/%",
        ]
        try await System.with { system in
            for path in paths {
                let connection = try RawConnection(system.api)
                connection.send("GET \(path) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                #expect(try await connection.wait(within: Self.promptly))
                #expect(connection.statuses == [400], "\(path): \(connection.text)")
                let problem = try JSONDecoder().decode(Problem.self, from: Data(connection.body.utf8))
                #expect((problem.code, problem.status) == ("malformed_url", 400))
                #expect(connection.text.contains("application/problem+json"))
            }
            let right = try await system.api.get("/v1/products?q=%EC%A3%BC%25")
            #expect(right.status == 200, "\(right.body)")
            try refused(await system.api.get("/v1/orders/%25"), 404, "order_not_found")
        }
    }

    /// Nothing was answered with 5xx, and the server goes on.
    private func expectNoFailure(_ system: System) async throws {
        #expect(try await system.api.get("/health/live").status == 200)
        let metrics = try await system.api.get("/metrics").body
        #expect(metrics.contains(#"status="200""#))
        #expect(!metrics.contains(/status="5\d\d"/))
    }
}
