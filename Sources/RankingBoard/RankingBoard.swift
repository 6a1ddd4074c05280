package import FoundationEssentials
package import OrderDomain
package import Redis

/// The ranking as it stands in Redis: one version a run, and a pointer to the current one.
///
/// A reader follows the pointer, so it sees a whole list or the one before, never an empty or half one. The pointer
/// only moves forward (a compare-and-set on the run's number), so a late run cannot overwrite a newer one.
///
/// | key | what |
/// |---|---|
/// | `popular:3d:current` | number of the current run |
/// | `popular:3d:{run}:quantity`, `…:amount` | sorted sets: member = product id with leading zeros, score = −value |
/// | `popular:3d:{run}:totals` | hash: product id → `quantity:amount` |
/// | `popular:3d:{run}:meta` | hash: `as_of_ms`, `from_ms`, `to_ms` |
///
/// Scores are negative so that reading upwards gives the largest first and, among equals, the lower id. They are exact
/// up to 2⁵³.
package struct RankingBoard: Sendable {
    /// What a reader gets.
    package struct List: Hashable, Sendable {
        package let run: Int64
        package let asOf: Date
        package let windowFrom: Date
        package let windowTo: Date
        /// Best first.
        package let products: [RankedProduct]
    }

    /// How long a version stays: far longer than any reader holds on to it.
    private static let versionLifetimeSeconds = 2 * 24 * 3_600
    private static let currentKey = "popular:3d:current"

    /// Answers 1 when the pointer moved (or stood there already), 0 when a newer run has been there.
    private static let moveForward = RedisScript(
        """
        local current = tonumber(redis.call('GET', KEYS[1]) or '0')
        if tonumber(ARGV[1]) < current then return 0 end
        redis.call('SET', KEYS[1], ARGV[1])
        return 1
        """
    )

    private let redis: RedisClient

    /// Reads and writes through `redis`.
    package init(_ redis: RedisClient) {
        self.redis = redis
    }

    /// Writes the lists of a run and makes them the current ones, unless a newer run has done so.
    ///
    /// - Returns: whether this run is the current one now.
    /// - Throws: `RedisError`; the current list is then what it was.
    package func publish(
        _ run: AggregationRun,
        lists: [Ranking: [RankedProduct]],
        deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        var commands: [RedisCommand] = []
        for ranking in Ranking.allCases {
            commands += replace(key(run.id, ranking.rawValue), with: scores(lists[ranking] ?? [], by: ranking))
        }
        let products = Set(Ranking.allCases.flatMap { lists[$0] ?? [] })
        let totals = products.flatMap { [member($0.productID), "\($0.quantity):\($0.amount.minorUnits)"] }
        commands += replace(key(run.id, "totals"), with: totals.isEmpty ? [] : ["HSET"] + totals)
        commands += replace(
            key(run.id, "meta"),
            with: [
                "HSET", "as_of_ms", milliseconds(run.asOf), "from_ms", milliseconds(run.windowFrom), "to_ms",
                milliseconds(run.windowTo),
            ]
        )
        for reply in try await redis.pipeline(commands, deadline: deadline) {
            if case .error(let error) = reply { throw RedisError(error) }
        }
        let moved = try await redis.evaluate(
            RankingBoard.moveForward,
            keys: [RankingBoard.currentKey],
            arguments: ["\(run.id)"],
            deadline: deadline
        )
        return moved.number == 1
    }

    /// The head of the current list, or nil when there is none (nothing published yet, or Redis was emptied).
    ///
    /// - Throws: `RedisError`.
    package func read(
        _ ranking: Ranking,
        limit: Int,
        deadline: ContinuousClock.Instant
    ) async throws -> List? {
        let current = try await redis.send(["GET", RankingBoard.currentKey], deadline: deadline)
        guard let run = current.string.flatMap({ Int64($0) }) else { return nil }
        let replies = try await redis.pipeline(
            [
                ["HMGET", key(run, "meta"), "as_of_ms", "from_ms", "to_ms"],
                ["ZRANGE", key(run, ranking.rawValue), "0", "\(limit - 1)"],
            ],
            deadline: deadline
        )
        let times = (replies[0].items ?? []).compactMap { $0.string.flatMap { Int64($0) } }.map(date)
        guard times.count == 3, let members = replies[1].items?.compactMap(\.string) else { return nil }
        return List(
            run: run,
            asOf: times[0],
            windowFrom: times[1],
            windowTo: times[2],
            products: try await products(members, of: run, deadline: deadline)
        )
    }

    private func products(
        _ members: [String],
        of run: Int64,
        deadline: ContinuousClock.Instant
    ) async throws -> [RankedProduct] {
        guard !members.isEmpty else { return [] }
        let totals = try await redis.send(
            RedisCommand(["HMGET", key(run, "totals")] + members),
            deadline: deadline
        )
        return zip(members, totals.items ?? []).compactMap { member, total in
            let values = (total.string ?? "").split(separator: ":").compactMap { Int64($0) }
            guard let id = Int64(member).flatMap(ProductID.init), values.count == 2 else { return nil }
            return RankedProduct(productID: id, quantity: values[0], amount: Money(minorUnits: values[1]))
        }
    }

    private func key(_ run: Int64, _ part: String) -> String {
        "popular:3d:\(run):\(part)"
    }

    /// 19 digits hold every id, and make the order of texts the order of numbers.
    private func member(_ product: ProductID) -> String {
        let digits = String(product.rawValue)
        return String(repeating: "0", count: max(0, 19 - digits.count)) + digits
    }

    private func scores(_ list: [RankedProduct], by ranking: Ranking) -> [String] {
        guard !list.isEmpty else { return [] }
        return ["ZADD"]
            + list.flatMap { product in
                let value = ranking == .quantity ? product.quantity : product.amount.minorUnits
                return ["\(-value)", member(product.productID)]
            }
    }

    /// The commands that write a key anew; `command` is a verb and its arguments, or nothing for an empty value.
    private func replace(_ key: String, with command: [String]) -> [RedisCommand] {
        guard let verb = command.first else { return [["UNLINK", key]] }
        return [
            ["UNLINK", key],
            RedisCommand([verb, key] + command.dropFirst()),
            ["EXPIRE", key, "\(RankingBoard.versionLifetimeSeconds)"],
        ]
    }

    private func milliseconds(_ date: Date) -> String {
        "\(Int64((date.timeIntervalSince1970 * 1_000).rounded()))"
    }

    private func date(_ milliseconds: Int64) -> Date {
        Date(timeIntervalSince1970: Double(milliseconds) / 1_000)
    }
}
