import Foundation
import OrderDomain
import OrderStore
import Postgres
import RankingBoard
import SeededRandom
import TestSupport
import Testing

/// Everything that may happen to the ledger and to runs, in random order, against ``Oracle`` after every run.
@Suite("Random histories of sales", .serialized)
struct HistoryTests {
    /// What `JUMUN_TEST_HISTORIES` says; otherwise as many as there is time for, and no more than 200.
    private static let wanted = ProcessInfo.processInfo.environment["JUMUN_TEST_HISTORIES"].flatMap { UInt64($0) }
    private static let time = Duration.seconds(40)

    @Test("after every run the lists are what one query over the ledger says")
    func histories() async throws {
        let seed = SplitMix64.seed
        print("histories from seed \(seed)")
        try await Market.with { market in
            var (histories, runs) = (0, 0)
            let end = ContinuousClock.now + Self.time
            for number in 0..<(Self.wanted ?? 200) where Self.wanted != nil || ContinuousClock.now < end {
                var history = try await History(seed: seed &+ number, market)
                try await history.play()
                histories += 1
                runs += history.runs
                // One history says all; the others would repeat it.
                guard !history.hasFailed else { return }
            }
            print("\(runs) runs in \(histories) histories were right")
            #expect(histories >= Int(Self.wanted ?? 10) && runs > histories)
        }
    }
}

/// One random history.
private struct History {
    /// A transaction that is held open.
    private struct Held {
        let connection: PostgresConnection
        var sold: [Market.Sale] = []
        var cancelled: [Market.Sale] = []
    }

    private static let modes = RankingWindow.Mode.allCases

    let seed: UInt64
    let market: Market
    var random: SplitMix64
    var clock: Date
    var mode = RankingWindow.Mode.rolling
    var runner: PostgresConnection
    /// Also the writer whose transactions commit at once.
    let witness: PostgresConnection
    /// What can still be cancelled.
    private var sales: [Market.Sale] = []
    private var held: [Held] = []
    /// Committed, and not published by the process that made them.
    private var unpublished: [RankingStore.Outcome] = []
    private var published: RankingStore.Outcome?
    var runs = 0
    var hasFailed = false

    init(seed: UInt64, _ market: Market) async throws {
        self.seed = seed
        self.market = market
        random = SplitMix64(seed: seed)
        clock = noon + Double(random.below(72 * 3_600_000)) / 1_000
        runner = try await market.shop.connect()
        witness = try await market.shop.connect()
        try await witness.execute(script: Self.empty, deadline: .now + Shop.timeout)
    }

    /// Run numbers go on, and with them the pointer in Redis.
    private static let empty = """
        DELETE FROM popular_snapshot; DELETE FROM aggregation_runs; DELETE FROM sales_window; DELETE FROM sales_hourly;
        DELETE FROM sales_ledger
        """

    mutating func play() async throws {
        for _ in 0..<(10 + random.below(25)) where !hasFailed {
            try await step()
        }
        if !hasFailed { try await runAndCheck() }
        for transaction in held { await transaction.connection.close() }
        await runner.close()
        await witness.close()
    }

    private mutating func step() async throws {
        switch random.below(100) {
        case 0..<30: try await sell()
        case 30..<42: try await cancel()
        case 42..<50: try await writeAndHold()
        case 50..<57: try await endHeld()
        case 57..<70: wait()
        case 70..<74: mode = Self.modes[random.below(Self.modes.count)]
        case 74..<78: try await runIntoTrouble()
        case 78..<82: try await publishLate()
        default: try await runAndCheck()
        }
    }

    private mutating func sale() -> Market.Sale {
        let age =
            switch random.below(10) {
            case 0..<5: Double(random.below(300_000)) / 1_000
            // Ahead of the aggregator's clock.
            case 5: -Double(random.below(random.chance(50) ? 60_000 : 5_400_000)) / 1_000
            default: Double(random.below(100 * 3_600_000)) / 1_000
            }
        let product = Int64(1 + random.below(8))
        return Market.Sale(product, Int32(1 + random.below(4)), price: 1 + product % 3, at: clock - age)
    }

    private mutating func sell() async throws {
        let sold = (0...random.below(3)).map { _ in sale() }
        try await Market.sell(sold, on: witness)
        sales += sold
    }

    private mutating func takeSales() -> [Market.Sale] {
        (0...random.below(2)).compactMap { _ in
            sales.isEmpty ? nil : sales.remove(at: random.below(sales.count))
        }
    }

    private mutating func cancel() async throws {
        try await Market.cancel(takeSales(), on: witness)
    }

    private mutating func writeAndHold() async throws {
        if held.count < 2 {
            let connection = try await market.shop.connect()
            _ = try await connection.query(.begin, deadline: .now + Shop.timeout)
            held.append(Held(connection: connection))
        }
        let index = random.below(held.count)
        let (sold, cancelled) = ((0...random.below(2)).map { _ in sale() }, takeSales())
        try await Market.sell(sold, on: held[index].connection)
        try await Market.cancel(cancelled, on: held[index].connection)
        held[index].sold += sold
        held[index].cancelled += cancelled
    }

    private mutating func endHeld() async throws {
        guard !held.isEmpty else { return }
        let ended = held.remove(at: random.below(held.count))
        let isCommitted = random.chance(75)
        _ = try await ended.connection.query(isCommitted ? .commit : .rollback, deadline: .now + Shop.timeout)
        await ended.connection.close()
        sales += isCommitted ? ended.sold : ended.cancelled
    }

    private mutating func wait() {
        switch random.below(10) {
        case 0..<5: clock += Double(1 + random.below(600_000)) / 1_000
        case 5..<8: clock += Double(random.below(8 * 3_600_000)) / 1_000
        case 8: clock += Double(random.below(100 * 3_600_000)) / 1_000
        // A run of an earlier time, or a clock that was set back.
        default: clock -= Double(random.below(40 * 3_600_000)) / 1_000
        }
    }

    private func run(within limit: Duration) async throws -> RankingStore.Outcome {
        try await RankingStore.run(
            RankingStore.Request(at: clock, mode: mode, trigger: .manual),
            on: runner,
            in: market.database,
            deadline: .now + limit
        )
    }

    /// A process that ends anywhere between its first statement and its publication.
    private mutating func runIntoTrouble() async throws {
        do {
            unpublished.append(try await run(within: .microseconds(random.below(15_000))))
        } catch {
            await runner.close()
            runner = try await market.shop.connect()
            // The server notices the lost connection in its own time, and gives back the lock then.
            while true {
                do {
                    unpublished.append(try await run(within: Shop.timeout))
                    return
                } catch is RankingStore.AlreadyRunning {
                    try await Task.sleep(for: .milliseconds(1))
                }
            }
        }
    }

    private mutating func runAndCheck() async throws {
        let outcome = try await run(within: Shop.timeout)
        runs += 1
        let run = outcome.run
        let expected = try await Oracle.lists(mode, endingAt: clock, run: run.version.run, on: witness)
        check(outcome.lists == expected, "run \(run.version.run), \(mode): \(outcome.lists), not \(expected)")
        let window = try Oracle.window(mode, endingAt: clock)
        // A time in the database is whole microseconds.
        let isOff =
            abs(run.window.from.timeIntervalSince(window.from)) + abs(run.window.to.timeIntervalSince(window.to))
        check(
            isOff < 0.000_002 && run.window.mode == mode,
            "the window is \(run.window), not \(window)"
        )
        try await checkStanding(after: run)
        if random.chance(30) {
            let verification = try await RankingStore.verify(on: witness, deadline: .now + Shop.timeout)
            check(verification.mismatches == 0, "verification: \(verification.differences)")
        }
        if random.chance(80) { try await publish(outcome) } else { unpublished.append(outcome) }
    }

    /// Within the minute that a run may stand, at once or later.
    private mutating func checkStanding(after run: AggregationRun) async throws {
        let later = random.chance(50) ? clock : clock + Double(1 + random.below(59_000)) / 1_000
        let standing = try await RankingStore.standing(mode, at: later, on: witness, deadline: .now + Shop.timeout)
        func hours(_ time: Date) -> [Date] {
            let window = RankingWindow(mode, endingAt: time)
            return [window.firstHour, window.endHour]
        }
        let hasNews = try await Oracle.hasNews(since: run.version.run, until: later, on: witness)
        let isDue = hasNews || hours(clock) != hours(later)
        check(
            standing.isDue == isDue,
            "another run is due \(later.timeIntervalSince(clock)) s later: \(standing.isDue), not \(isDue)"
        )
    }

    /// A process that stood still for long.
    private mutating func publishLate() async throws {
        guard !unpublished.isEmpty else { return }
        try await publish(unpublished.remove(at: random.below(unpublished.count)))
    }

    private mutating func publish(_ outcome: RankingStore.Outcome) async throws {
        let deadline = ContinuousClock.now + Shop.timeout
        let isCurrent = try await market.board.publish(outcome.run, lists: outcome.lists, deadline: deadline)
        let isNewer = published.map { $0.run.version < outcome.run.version } ?? true
        check(isCurrent == isNewer, "run \(outcome.run.version.run) is current: \(isCurrent)")
        if isNewer { published = outcome }
        for ranking in Ranking.allCases {
            let list = try await market.board.read(ranking, limit: 1_000, deadline: deadline)
            check(
                list?.products == published?.lists[ranking] && list?.version == published?.run.version,
                "the board shows \(String(describing: list)), not run \(String(describing: published?.run.version.run))"
            )
        }
    }

    private mutating func check(_ isRight: Bool, _ what: String) {
        guard !isRight else { return }
        hasFailed = true
        Issue.record("JUMUN_SEED=\(seed): \(what)")
    }
}
