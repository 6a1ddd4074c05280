import Testing

@testable import Redis

@Suite("Redis client with a real server", .timeLimit(.minutes(1)))
struct RedisClientTests {
    @Test("reads every kind of reply")
    func readsEveryKind() async throws {
        let client = try makeClient()
        let key = uniqueKey()
        #expect(try await client.send(["GET", key], deadline: .soon) == .null)
        #expect(try await client.send(["BLPOP", key, "0.01"], deadline: .soon) == .null)
        #expect(try await client.send(["SET", key, "väl", "EX", "60"], deadline: .soon) == .status("OK"))
        #expect(try await client.send(["GET", key], deadline: .soon) == .bulk(Array("väl".utf8)))
        #expect(try await client.send(["STRLEN", key], deadline: .soon) == .integer(4))
        let nested = RedisScript("return {1, 'two', {3, {}, {ok='FOUR'}, {err='MINE five'}}, false, -9007199254740992}")
        let expected: [RedisReply] = [
            .integer(1), .bulk(Array("two".utf8)),
            .array([.integer(3), .array([]), .status("FOUR"), .error(RedisServerError(line: "MINE five"))]),
            .null, .integer(-9_007_199_254_740_992),
        ]
        #expect(try await client.evaluate(nested, keys: [], arguments: [], deadline: .soon) == .array(expected))
    }

    @Test("reads text, numbers and elements from replies")
    func readsValues() {
        #expect(RedisReply.bulk([0x61]).string == "a" && RedisReply.status("OK").string == "OK")
        #expect(RedisReply.bulk([0xFF]).string == nil && RedisReply.null.string == nil)
        #expect(RedisReply.integer(7).number == 7 && RedisReply.array([.null]).items == [.null])
        #expect(RedisReply.bulk([0x37]).number == nil && RedisReply.integer(7).items == nil)
    }

    @Test("throws an error reply with its code")
    func throwsServerError() async throws {
        let client = try makeClient()
        let key = uniqueKey()
        _ = try await client.send(["SET", key, "x", "EX", "60"], deadline: .soon)
        let wrongType = try await failure { () async throws(RedisError) in
            _ = try await client.send(["LPUSH", key, "x"], deadline: .soon)
        }
        #expect(wrongType.code == .server && wrongType.serverCode == "WRONGTYPE")
        #expect(!wrongType.isRetryable && !wrongType.isOutcomeUnknown)
        let unknown = try await failure { () async throws(RedisError) in
            _ = try await client.send(["NOSUCH", "secret"], deadline: .soon)
        }
        #expect(unknown.serverCode == "ERR" && unknown.description.contains("unknown command 'NOSUCH'"))
        #expect(!unknown.description.contains("secret"))
    }

    @Test("arguments are binary-safe")
    func binarySafe() async throws {
        let client = try makeClient()
        let large = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for value in [[], [0], Array("a\0b\r\n$5\r\n%s%b 'x'".utf8), [0xFF, 0xFE, 0], large] {
            let key = Array(uniqueKey().utf8) + [0, 13, 10, 0xFF]
            let set = RedisCommand(bytes: [Array("set".utf8), key, value, Array("EX".utf8), Array("60".utf8)])
            #expect(try await client.send(set, deadline: .soon) == .status("OK"))
            let get = RedisCommand(bytes: [Array("get".utf8), key])
            #expect(try await client.send(get, deadline: .soon) == .bulk(value))
        }
    }

    @Test("a pipeline of the most commands keeps the order, and errors stay in it")
    func pipelines() async throws {
        let client = try makeClient()
        let key = uniqueKey()
        let limit = RedisClient.maximumPipelineCommands
        var commands: [RedisCommand] = (1..<limit).map { _ in ["INCR", key] }
        commands.insert(["LPUSH", key, "x"], at: 5_000)
        let replies = try await client.pipeline(commands, deadline: .soon)
        #expect(replies.count == limit)
        guard case .error(let error) = replies[5_000] else { throw NoFailure() }
        #expect(error.code == "WRONGTYPE")
        #expect(replies.compactMap(\.number) == (1..<limit).map(Int64.init))
        _ = try await client.send(["DEL", key], deadline: .soon)
        #expect(try await client.pipeline([], deadline: .soon) == [])
    }

    @Test("a call that breaks a rule is refused before anything is sent")
    func refuses() async throws {
        let client = try makeClient("redis://127.0.0.1:1/0")
        let tooMany = [RedisCommand](repeating: ["PING"], count: RedisClient.maximumPipelineCommands + 1)
        let tooLong = RedisCommand(bytes: [[0x50], [UInt8](repeating: 0, count: RedisClient.maximumRequestBytes)])
        for commands in [tooMany, [tooLong], [[]], [[""]], [["PING"], ["subscribe", "a"]], [["Select", "1"]]] {
            let error = try await failure { () async throws(RedisError) in
                _ = try await client.pipeline(commands, deadline: .soon)
            }
            #expect(error.code == .invalidArgument && !error.isRetryable)
        }
    }

    @Test("a script runs by its digest, and by its source when the server forgot it")
    func evaluates() async throws {
        let client = try makeClient()
        let key = uniqueKey()
        let script = RedisScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        for expected in [5, 10] as [Int64] {
            let reply = try await client.evaluate(script, keys: [key], arguments: ["5"], deadline: .soon)
            #expect(reply == .integer(expected))
        }
        _ = try await client.send(["SCRIPT", "FLUSH", "SYNC"], deadline: .soon)
        for expected in [15, 20] as [Int64] {
            let reply = try await client.evaluate(script, keys: [key], arguments: ["5"], deadline: .soon)
            #expect(reply == .integer(expected))
        }
        _ = try await client.send(["DEL", key], deadline: .soon)
    }

    @Test("a late reply is never taken for the next command's")
    func lateReply() async throws {
        let client = try makeClient()
        let key = uniqueKey()
        for round in 0..<3 {
            try await client.ping(deadline: .soon)
            let error = try await failure { () async throws(RedisError) in
                _ = try await client.send(["BLPOP", key, "0.4"], deadline: .now + .milliseconds(200))
            }
            #expect(error.code == .timedOut && error.isOutcomeUnknown && error.isRetryable)
            #expect(try await client.send(["ECHO", "\(round)"], deadline: .soon).string == "\(round)")
        }
    }

    @Test("a killed connection is reported, and the next call has a new one")
    func killed() async throws {
        let client = try makeClient()
        let killer = try makeClient()
        let id = try #require(try await client.send(["CLIENT", "ID"], deadline: .soon).number)
        async let error = failure { () async throws(RedisError) in
            _ = try await client.send(["BLPOP", uniqueKey(), "20"], deadline: .soon)
        }
        // The kill must meet the blocked command.
        try await waitUntil {
            let list = try await killer.send(["CLIENT", "LIST", "ID", "\(id)"], deadline: .soon).string ?? ""
            return list.contains("cmd=blpop") && list.contains("flags=b")
        }
        #expect(try await killer.send(["CLIENT", "KILL", "ID", "\(id)"], deadline: .soon) == .integer(1))
        let lost = try await error
        #expect(lost.code == .connectionLost && lost.isOutcomeUnknown && lost.isRetryable)
        #expect(try await client.send(["CLIENT", "ID"], deadline: .soon).number != id)
    }

    @Test("a connection that was killed while idle costs no call")
    func killedIdle() async throws {
        let client = try makeClient()
        let killer = try makeClient()
        for _ in 0..<20 {
            let id = try #require(try await client.send(["CLIENT", "ID"], deadline: .soon).number)
            #expect(try await killer.send(["CLIENT", "KILL", "ID", "\(id)"], deadline: .soon) == .integer(1))
            try await waitUntil { await !client.isConnected }
            try await client.ping(deadline: .soon)
        }
    }

    @Test("logs in with user and password, and selects the database")
    func logsIn() async throws {
        let plain = try makeClient()
        let user = "u\(UInt64.random(in: 0...UInt64.max))"
        _ = try await plain.send(["ACL", "SETUSER", user, "on", ">p@ss", "+@all", "~*"], deadline: .soon)
        let base = try RedisConfiguration(url: realURL())
        let address = "\(base.host):\(base.port)"
        let client = try makeClient("redis://\(user):p%40ss@\(address)/3")
        #expect(try await client.send(["ACL", "WHOAMI"], deadline: .soon).string == user)
        let info = try #require(try await client.send(["CLIENT", "INFO"], deadline: .soon).string)
        #expect(info.contains(" db=3 "))

        let wrong = try makeClient("redis://\(user):wrong@\(address)/3")
        let error = try await failure { () async throws(RedisError) in try await wrong.ping(deadline: .soon) }
        #expect(error.code == .connectFailed && error.serverCode == "WRONGPASS" && !error.isRetryable)
        #expect(error.description.contains("invalid username-password pair") && !error.description.contains("wrong@"))
        let outside = try makeClient("redis://\(user):p%40ss@\(address)/9999")
        let range = try await failure { () async throws(RedisError) in try await outside.ping(deadline: .soon) }
        #expect(range.code == .connectFailed && range.description.contains("DB index is out of range"))
        _ = try await plain.send(["ACL", "DELUSER", user], deadline: .soon)
    }

    @Test("concurrent callers of one client get their own replies")
    func concurrentCallers() async throws {
        let client = try makeClient()
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for caller in 0..<50 {
                group.addTask {
                    for round in 0..<20 {
                        let text = "\(caller):\(round)"
                        let reply = try await client.send(["ECHO", text], deadline: .soon)
                        guard reply.string == text else { return false }
                    }
                    return true
                }
            }
            for try await isOwn in group { #expect(isOwn) }
        }
    }

    @Test("a cancelled task and a deadline that has passed send nothing")
    func sendsNothing() async throws {
        let client = try makeClient()
        let key = uniqueKey()
        let cancelled = Task {
            unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
            return try await failure { () async throws(RedisError) in
                _ = try await client.send(["SET", key, "x", "EX", "60"], deadline: .soon)
            }
        }
        let error = try await cancelled.value
        #expect(error.code == .cancelled && !error.isRetryable && !error.isOutcomeUnknown)
        let late = try await failure { () async throws(RedisError) in
            _ = try await client.send(["SET", key, "x", "EX", "60"], deadline: .now - .seconds(1))
        }
        #expect(late.code == .timedOut && late.isRetryable && !late.isOutcomeUnknown)
        #expect(try await client.send(["EXISTS", key], deadline: .soon) == .integer(0))
    }

    @Test("works again after close")
    func closes() async throws {
        let client = try makeClient()
        let first = try await client.send(["CLIENT", "ID"], deadline: .soon)
        await client.close()
        #expect(try await client.send(["CLIENT", "ID"], deadline: .soon) != first)
    }
}

/// Waits for a condition, at most 10 s.
func waitUntil(_ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(10)
    while try await !condition() {
        try #require(.now < deadline, "the condition did not come true in 10 s")
        await Task.yield()
    }
}
