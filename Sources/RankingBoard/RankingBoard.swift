import FoundationEssentials
package import OrderDomain
package import Redis

/// The ranking as it stands in Redis: one version a run, and a pointer to the current one.
///
/// A reader follows the pointer, so it sees a whole list or the one before, never an empty or half one. The pointer
/// only moves forward (a compare-and-set on the version), so a late run cannot overwrite a newer one.
///
/// | key | what |
/// |---|---|
/// | `popular:3d:current` | the current version: `epoch-run` |
/// | `popular:3d:{version}:quantity`, `…:amount` | sorted sets: product id, score = place in the list, from 1 |
/// | `popular:3d:{version}:totals` | hash: product id → `quantity:amount` |
/// | `popular:3d:{version}:meta` | hash: `mode`, `from_ms`, `to_ms`, `length` of the lists |
///
/// A score is the place and not the value: scores are doubles, which do not tell large values apart, and so the order
/// is the database's own.
package struct RankingBoard: Sendable {
    /// What a reader gets.
    package struct List: Hashable, Sendable {
        package let version: RankingVersion
        package let window: RankingWindow
        /// Best first.
        package let products: [RankedProduct]
    }

    /// The lists were forgotten before they could become the current ones: the publication stood still for a minute.
    package struct Expired: Error, CustomStringConvertible {
        package let description = "the lists expired before they became the current ones"
    }

    /// How long the current version stays while no run replaces it.
    private static let currentLifetimeSeconds = 2 * 24 * 3_600
    /// How long a version stays that is not the current one (yet, or any more): far longer than a reader or a
    /// publication holds on to it, and short enough for a run a second.
    private static let otherLifetimeSeconds = 60
    private static let currentKey = "popular:3d:current"
    private static let parts = ["meta", "totals", "quantity", "amount"]

    /// Answers 0 when a newer version stands there, −1 when this one is not whole (its time was up before the pointer
    /// got there), and otherwise 1 and the version before.
    private static let moveForward = RedisScript(
        """
        local current = redis.call('GET', KEYS[1])
        if current then
            local epoch, run = string.match(current, '^(%d+)-(%d+)$')
            epoch, run = tonumber(epoch or 0), tonumber(run or 0)
            local newEpoch, newRun = tonumber(ARGV[1]), tonumber(ARGV[2])
            if epoch > newEpoch or (epoch == newEpoch and run > newRun) then return {0} end
        end
        if redis.call('EXISTS', KEYS[2]) == 0 or redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[3])
            or redis.call('ZCARD', KEYS[4]) ~= tonumber(ARGV[4])
            or redis.call('ZCARD', KEYS[5]) ~= tonumber(ARGV[4]) then return {-1} end
        for part = 2, 5 do redis.call('EXPIRE', KEYS[part], ARGV[5]) end
        redis.call('SET', KEYS[1], ARGV[1] .. '-' .. ARGV[2])
        return {1, current or ''}
        """
    )

    private let redis: RedisClient

    /// Reads and writes through `redis`.
    package init(_ redis: RedisClient) {
        self.redis = redis
    }

    /// Writes the lists of a run and makes them the current ones, unless newer ones are.
    ///
    /// - Returns: whether this version is the current one now.
    /// - Throws: ``Expired`` or `RedisError`; the current list is then what it was, or this one when only the answer
    ///   was lost.
    package func publish(
        _ run: AggregationRun,
        lists: [Ranking: [RankedProduct]],
        deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        let version = text(run.version)
        let products = Set(Ranking.allCases.flatMap { lists[$0] ?? [] })
        try await write(run, lists: lists, products: products, deadline: deadline)
        let answer = try await redis.evaluate(
            RankingBoard.moveForward,
            keys: [RankingBoard.currentKey] + RankingBoard.parts.map { key(version, $0) },
            arguments: [
                "\(run.version.epoch)", "\(run.version.run)", "\(products.count)", "\(lists[.quantity]?.count ?? 0)",
                "\(RankingBoard.currentLifetimeSeconds)",
            ],
            deadline: deadline
        )
        switch answer.items?.first?.number {
        case 1: break
        case 0: return false
        default: throw Expired()
        }
        let before = answer.items?.last?.string ?? ""
        if !before.isEmpty, before != version { await expire(before, deadline: deadline) }
        return true
    }

    /// All keys of a version at once, also when it is written a second time while it is read.
    private func write(
        _ run: AggregationRun,
        lists: [Ranking: [RankedProduct]],
        products: Set<RankedProduct>,
        deadline: ContinuousClock.Instant
    ) async throws {
        let version = text(run.version)
        var commands: [RedisCommand] = [["MULTI"]]
        for ranking in Ranking.allCases {
            commands += replace(key(version, ranking.rawValue), with: places(in: lists[ranking] ?? []))
        }
        let totals = products.flatMap { ["\($0.productID.rawValue)", "\($0.quantity):\($0.amount.minorUnits)"] }
        commands += replace(key(version, "totals"), with: totals.isEmpty ? [] : ["HSET"] + totals)
        commands += replace(
            key(version, "meta"),
            with: [
                "HSET", "mode", run.window.mode.rawValue, "from_ms", milliseconds(run.window.from), "to_ms",
                milliseconds(run.window.to), "length", "\(lists[.quantity]?.count ?? 0)",
            ]
        )
        commands.append(["EXEC"])
        let replies = try await redis.pipeline(commands, deadline: deadline)
        for reply in replies + (replies.last?.items ?? []) {
            if case .error(let error) = reply { throw RedisError(error) }
        }
    }

    /// Only takes up room until then, so that a failure matters to nobody.
    private func expire(_ version: String, deadline: ContinuousClock.Instant) async {
        let lifetime = "\(RankingBoard.otherLifetimeSeconds)"
        let commands = RankingBoard.parts.map { RedisCommand(["EXPIRE", key(version, $0), lifetime]) }
        _ = try? await redis.pipeline(commands, deadline: deadline)
    }

    /// The version that readers get, or nil when there is none; throws `RedisError`.
    package func currentVersion(deadline: ContinuousClock.Instant) async throws -> RankingVersion? {
        let current = try await redis.send(["GET", RankingBoard.currentKey], deadline: deadline)
        return current.string.flatMap(parse)
    }

    /// The head of the current list, or nil when there is none (nothing published yet, or Redis was emptied).
    ///
    /// - Throws: `RedisError`.
    package func read(
        _ ranking: Ranking,
        limit: Int,
        deadline: ContinuousClock.Instant
    ) async throws -> List? {
        guard let version = try await currentVersion(deadline: deadline) else { return nil }
        let replies = try await redis.pipeline(
            [
                ["HMGET", key(text(version), "meta"), "mode", "from_ms", "to_ms", "length"],
                ["ZRANGE", key(text(version), ranking.rawValue), "0", "\(limit - 1)"],
            ],
            deadline: deadline
        )
        let meta = (replies[0].items ?? []).compactMap(\.string)
        guard meta.count == 4, let mode = RankingWindow.Mode(rawValue: meta[0]), let from = date(meta[1]),
            let to = date(meta[2]), let length = Int(meta[3]), let members = replies[1].items?.compactMap(\.string)
        else { return nil }
        let products = try await products(members, of: version, deadline: deadline)
        // A version that was forgotten or evicted while it was read is no list.
        guard products.count == min(limit, length) else { return nil }
        return List(version: version, window: RankingWindow(mode, from: from, to: to), products: products)
    }

    private func products(
        _ members: [String],
        of version: RankingVersion,
        deadline: ContinuousClock.Instant
    ) async throws -> [RankedProduct] {
        guard !members.isEmpty else { return [] }
        let totals = try await redis.send(
            RedisCommand(["HMGET", key(text(version), "totals")] + members),
            deadline: deadline
        )
        return zip(members, totals.items ?? []).compactMap { member, total in
            let values = (total.string ?? "").split(separator: ":").compactMap { Int64($0) }
            guard let id = Int64(member).flatMap(ProductID.init), values.count == 2 else { return nil }
            return RankedProduct(productID: id, quantity: values[0], amount: Money(minorUnits: values[1]))
        }
    }

    private func key(_ version: String, _ part: String) -> String {
        "popular:3d:\(version):\(part)"
    }

    private func text(_ version: RankingVersion) -> String {
        "\(version.epoch)-\(version.run)"
    }

    /// Nil also for what an older release has written.
    private func parse(_ text: String) -> RankingVersion? {
        let numbers = text.split(separator: "-").compactMap { Int64($0) }
        return numbers.count == 2 ? RankingVersion(epoch: numbers[0], run: numbers[1]) : nil
    }

    private func places(in list: [RankedProduct]) -> [String] {
        guard !list.isEmpty else { return [] }
        return ["ZADD"] + list.enumerated().flatMap { ["\($0 + 1)", "\($1.productID.rawValue)"] }
    }

    /// The commands that write a key anew; `command` is a verb and its arguments, or nothing for an empty value.
    private func replace(_ key: String, with command: [String]) -> [RedisCommand] {
        guard let verb = command.first else { return [["UNLINK", key]] }
        return [
            ["UNLINK", key],
            RedisCommand([verb, key] + command.dropFirst()),
            ["EXPIRE", key, "\(RankingBoard.otherLifetimeSeconds)"],
        ]
    }

    private func milliseconds(_ date: Date) -> String {
        "\(Int64((date.timeIntervalSince1970 * 1_000).rounded()))"
    }

    private func date(_ milliseconds: String) -> Date? {
        Int64(milliseconds).map { Date(timeIntervalSince1970: Double($0) / 1_000) }
    }
}
