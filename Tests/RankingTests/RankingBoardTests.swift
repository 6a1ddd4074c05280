import Foundation
import OrderDomain
import RankingBoard
import Redis
import Synchronization
import TestSupport
import Testing

/// Tells the readers that nothing more is written.
private final class End: Sendable {
    let isReached = Atomic(false)
}

@Suite("The ranking in Redis", .serialized, .timeLimit(.minutes(5)))
struct RankingBoardTests {
    private var deadline: ContinuousClock.Instant { .now + Shop.timeout }

    private func run(_ number: Int64, epoch: Int64 = 1) -> AggregationRun {
        AggregationRun(
            version: RankingVersion(epoch: epoch, run: number),
            trigger: .manual,
            window: RankingWindow(.rolling, endingAt: noon),
            rowsRead: 0,
            productsTouched: 0,
            startedAt: noon,
            finishedAt: noon
        )
    }

    /// So many products, all with the same quantity, so that a list can be told from another and from a half one.
    private func lists(_ count: Int, quantity: Int64) throws -> [Ranking: [RankedProduct]] {
        let list = try (1...Int64(count)).map {
            RankedProduct(
                productID: try #require(ProductID($0)),
                quantity: quantity,
                amount: Money(minorUnits: quantity)
            )
        }
        return [.quantity: list, .amount: list]
    }

    @Test("a reader sees one list or the next, never a half one, also when a version is written twice")
    func wholeLists() async throws {
        try await Market.with { market in
            #expect(try await market.board.read(.amount, limit: 5, deadline: deadline) == nil)
            _ = try await market.board.publish(run(1), lists: lists(300, quantity: 1), deadline: deadline)
            let end = End()
            try await withThrowingTaskGroup(of: Void.self) { group in
                let reader = RedisClient(configuration: try Market.redisConfiguration(), logger: Market.quiet)
                group.addTask {
                    let board = RankingBoard(reader)
                    while !end.isReached.load(ordering: .relaxed) {
                        let list = try await board.read(.quantity, limit: 1_000, deadline: .now + Shop.timeout)
                        #expect(list?.products.count == 300)
                        #expect(Set(list?.products.map(\.quantity) ?? []) == [list?.version.run])
                    }
                    await reader.close()
                }
                for number in 2...100 as ClosedRange<Int64> {
                    for _ in 0..<2 {
                        #expect(
                            try await market.board.publish(
                                run(number),
                                lists: lists(300, quantity: number),
                                deadline: deadline
                            )
                        )
                    }
                }
                end.isReached.store(true, ordering: .relaxed)
                try await group.waitForAll()
            }
        }
    }

    @Test("a late run never overwrites a newer one, and a new database does overwrite the one before")
    func movesForward() async throws {
        try await Market.with { market in
            #expect(try await market.board.publish(run(7), lists: lists(2, quantity: 7), deadline: deadline))
            #expect(try await !market.board.publish(run(6), lists: lists(3, quantity: 6), deadline: deadline))
            #expect(try await market.board.currentVersion(deadline: deadline) == RankingVersion(epoch: 1, run: 7))
            #expect(try await market.board.publish(run(1, epoch: 2), lists: lists(3, quantity: 1), deadline: deadline))
            #expect(try await !market.board.publish(run(8), lists: lists(3, quantity: 8), deadline: deadline))
            let list = try await market.board.read(.quantity, limit: 2, deadline: deadline)
            #expect(list?.version == RankingVersion(epoch: 2, run: 1))
            #expect(list?.products.map(\.productID.rawValue) == [1, 2])
            // A pointer of an older release is older than all.
            _ = try await market.redis.send(["SET", "popular:3d:current", "5000"], deadline: deadline)
            #expect(try await market.board.read(.quantity, limit: 2, deadline: deadline) == nil)
            #expect(try await market.board.publish(run(2, epoch: 2), lists: [:], deadline: deadline))
            #expect(try await market.board.read(.quantity, limit: 2, deadline: deadline)?.products == [])
        }
    }

    @Test("the order is the list's own, also of values that a double does not tell apart, and of equal ones")
    func exactOrder() async throws {
        try await Market.with { market in
            let large: Int64 = 1 << 53
            let list = try [(10, large + 1), (2, large), (9, large), (11, large), (1, 1)].map {
                (id: Int64, value: Int64) in
                RankedProduct(
                    productID: try #require(ProductID(id)),
                    quantity: value,
                    amount: Money(minorUnits: value)
                )
            }
            _ = try await market.board.publish(run(1), lists: [.quantity: list, .amount: list], deadline: deadline)
            for ranking in Ranking.allCases {
                #expect(try await market.board.read(ranking, limit: 5, deadline: deadline)?.products == list)
            }
        }
    }

    @Test("only the current version stays: the one before expires within a minute, and so does one that came late")
    func expires() async throws {
        try await Market.with { market in
            for number in [1, 3, 2] as [Int64] {
                _ = try await market.board.publish(run(number), lists: lists(2, quantity: 1), deadline: deadline)
            }
            for part in ["meta", "totals", "quantity", "amount"] {
                for (number, lifetime) in [(1, 30...60), (2, 30...60), (3, 100_000...172_800)] {
                    let answer = try await market.redis.send(
                        ["TTL", "popular:3d:1-\(number):\(part)"],
                        deadline: deadline
                    )
                    #expect(lifetime.contains(Int(answer.number ?? -9)), "\(number) \(part)")
                }
            }
            #expect(try await market.redis.send(["TTL", "popular:3d:current"], deadline: deadline).number == -1)
        }
    }

    @Test("a version of which a part is lost is no list", arguments: ["meta", "totals", "quantity"])
    func lostPart(part: String) async throws {
        try await Market.with { market in
            _ = try await market.board.publish(run(1), lists: lists(5, quantity: 1), deadline: deadline)
            #expect(try await market.board.read(.quantity, limit: 3, deadline: deadline)?.products.count == 3)
            _ = try await market.redis.send(["DEL", "popular:3d:1-1:\(part)"], deadline: deadline)
            #expect(try await market.board.read(.quantity, limit: 3, deadline: deadline) == nil)
        }
    }
}
