import Foundation
import OrderDomain
import OrderStore
import Postgres
import RankingBoard
import TestSupport
import Testing

@Suite("The ranking", .serialized, .timeLimit(.minutes(5)))
struct RankingStoreTests {
    typealias Sale = Market.Sale

    @Test("each mode begins its three days where it should")
    func windows() {
        let time = noon + 13 * minute + 0.250
        let rolling = RankingWindow(.rolling, endingAt: time)
        #expect((rolling.from, rolling.to) == (noon - 72 * hour, time))
        #expect(RankingWindow(.minute, endingAt: time).from == time - 72 * hour)
        // Noon in UTC is 21:00 in Seoul: today began 21 hours before.
        #expect(RankingWindow(.calendar, endingAt: time).from == noon - 21 * hour - 48 * hour)
        #expect(RankingWindow(.calendar, endingAt: noon + 3 * hour).from == noon + 3 * hour - 48 * hour)
        #expect(RankingWindow(.calendar, endingAt: noon + 3 * hour - 0.001).from == noon - 21 * hour - 48 * hour)
        #expect((rolling.firstHour, rolling.endHour) == (noon - 72 * hour, noon + hour))
    }

    @Test("an empty shop has empty lists")
    func emptyShop() async throws {
        try await Market.with { market in
            for mode in RankingWindow.Mode.allCases {
                let outcome = try await market.run(at: noon, mode)
                #expect(outcome.run.rowsRead == 0)
                #expect(outcome.lists == [.quantity: [], .amount: []])
                #expect(try await market.board.publish(outcome.run, lists: outcome.lists, deadline: .now + .seconds(5)))
                let list = try await market.board.read(.quantity, limit: 5, deadline: .now + .seconds(5))
                #expect(list?.products == [] && list?.window.mode == mode)
            }
            #expect(try await market.verify().mismatches == 0)
        }
    }

    @Test("a run reads what is new, and an idle one nothing; ties go to the lower id")
    func readsWhatIsNew() async throws {
        try await Market.with { market in
            try await market.sell(
                Sale(2, 4, at: noon - hour),
                Sale(1, 4, at: noon - hour),
                Sale(3, 9, at: noon - 80 * hour)
            )
            let first = try await market.run(at: noon)
            #expect(first.quantities == [[1, 4], [2, 4]])
            let sale = Sale(2, 1, at: noon)
            try await market.sell(sale)
            let second = try await market.run(at: noon)
            #expect((second.run.rowsRead, second.run.productsTouched) == (1, 1))
            #expect(second.quantities == [[2, 5], [1, 4]])
            try await market.cancel(sale)
            let third = try await market.run(at: noon + 1)
            #expect((third.run.rowsRead, third.quantities) == (1, [[1, 4], [2, 4]]))
            #expect(try await market.run(at: noon + 1).run.rowsRead == 0)
        }
    }

    @Test("a sale and its cancellation leave the window together, at the edge of each mode")
    func edges() async throws {
        try await Market.with { market in
            let sale = Sale(1, 5, at: noon - 72 * hour + 10 * minute)
            try await market.sell(sale, Sale(2, 1, at: noon))
            #expect(try await market.run(at: noon + 10 * minute, .minute).quantities == [[1, 5], [2, 1]])
            #expect(try await market.run(at: noon + 10 * minute + 0.001, .minute).quantities == [[2, 1]])
            #expect(try await market.run(at: noon + 59 * minute, .rolling).quantities == [[1, 5], [2, 1]])
            #expect(try await market.run(at: noon + 59 * minute, .calendar).quantities == [[2, 1]])
            #expect(try await market.run(at: noon + hour, .rolling).quantities == [[2, 1]])
            try await market.cancel(sale)
            #expect(try await market.run(at: noon + hour, .rolling).quantities == [[2, 1]])
            #expect(try await market.run(at: noon, .rolling).quantities == [[2, 1]])
            #expect(try await market.verify().mismatches == 0)
        }
    }

    @Test("a sale of a clock that is ahead is counted as soon as its time has come")
    func clockAhead() async throws {
        try await Market.with { market in
            try await market.sell(Sale(1, 5, at: noon + 0.5))
            #expect(try await market.run(at: noon).quantities == [])
            let connection = try await market.shop.connect()
            func isDue(at time: Date) async throws -> Bool {
                try await RankingStore.standing(.rolling, at: time, on: connection, deadline: .now + Shop.timeout).isDue
            }
            #expect(try await !isDue(at: noon + 0.499))
            #expect(try await isDue(at: noon + 0.5))
            #expect(try await market.run(at: noon + 1).quantities == [[1, 5]])
            #expect(try await !isDue(at: noon + 2))
            await connection.close()
        }
    }

    @Test("how long a run took is told with its lists")
    func duration() async throws {
        try await Market.with { market in
            try await market.execute(
                """
                CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END';
                CREATE TRIGGER slow AFTER INSERT ON popular_snapshot EXECUTE FUNCTION slow();
                """
            )
            let start = ContinuousClock.now
            let run = try await market.run(at: noon).run
            let duration = Duration.seconds(run.finishedAt.timeIntervalSince(run.startedAt))
            #expect(duration >= .milliseconds(300) && duration <= ContinuousClock.now - start)
            let connection = try await market.shop.connect()
            let saved = try await RankingStore.runs(limit: 1, on: connection, deadline: .now + Shop.timeout)
            #expect(saved == [run])
            await connection.close()
        }
    }

    @Test("a list has the best 1,000 of more products")
    func longList() async throws {
        try await Market.with { market in
            let connection = try await market.shop.connect()
            let sales = (1...1_100).map { (id: Int64) in Sale(id, Int32(1 + id % 7), price: 1 + id % 5, at: noon) }
            try await Market.sell(sales, on: connection)
            let outcome = try await market.run(at: noon)
            let expected = try await Oracle.lists(
                .rolling,
                endingAt: noon,
                run: outcome.run.version.run,
                on: connection
            )
            #expect(outcome.lists == expected)
            #expect(outcome.lists.values.map(\.count) == [1_000, 1_000])
            let latest = try await RankingStore.latest(on: connection, deadline: .now + Shop.timeout)
            #expect(latest?.lists == outcome.lists)
            #expect(try await market.verify().mismatches == 0)
            await connection.close()
        }
    }

    @Test("a second run at once is refused, and the lock is free after the first")
    func oneAtATime() async throws {
        try await Market.with { market in
            try await market.sell(Sale(1, 1, at: noon))
            let holder = try await market.shop.connect()
            try await holder.execute(script: "SELECT pg_advisory_lock(7002)", deadline: .now + Shop.timeout)
            await #expect(throws: RankingStore.AlreadyRunning.self) { try await market.run(at: noon) }
            try await holder.execute(script: "SELECT pg_advisory_unlock(7002)", deadline: .now + Shop.timeout)
            await holder.close()

            let connection = try await market.shop.connect()
            for _ in 0..<2 {
                _ = try await RankingStore.run(
                    RankingStore.Request(at: noon, trigger: .schedule),
                    on: connection,
                    in: market.database,
                    deadline: .now + Shop.timeout
                )
                #expect(try await market.run(at: noon).quantities == [[1, 1]])
            }
            await connection.close()
        }
    }

    @Test("a run of the scheduler is refused once a later one has been saved, and changes nothing")
    func refusesOutdated() async throws {
        try await Market.with { market in
            // A person's run has no number.
            for fence: Int64? in [3, 5, nil, 5] { _ = try await market.run(at: noon, fence: fence) }
            try await market.sell(Sale(1, 1, at: noon))
            await #expect(throws: RankingStore.Outdated.self) { try await market.run(at: noon, fence: 4) }
            #expect(try await market.run(at: noon).quantities == [[1, 1]])
        }
    }

    @Test(
        "verification finds what is kept wrongly, and a recount puts it right",
        arguments: [
            ("UPDATE sales_hourly SET quantity = quantity + 1 WHERE product_id = 1", 3),
            ("DELETE FROM sales_window WHERE product_id = 2", 1),
            ("INSERT INTO sales_window VALUES (9, 1, 1)", 1),
            ("UPDATE popular_snapshot SET quantities[1] = 99 WHERE ranking = 'amount'", 1),
            ("DELETE FROM popular_snapshot WHERE ranking = 'quantity'", 2),
        ]
    )
    func findsDamage(damage: String, mismatches: Int64) async throws {
        try await Market.with { market in
            try await market.sell(Sale(1, 5, at: noon), Sale(2, 3, at: noon - hour), Sale(1, 1, at: noon - hour))
            _ = try await market.run(at: noon)
            #expect(try await market.verify().mismatches == 0)
            try await market.execute(damage)
            let verification = try await market.verify()
            #expect(verification.mismatches == mismatches, "\(verification.differences)")
            #expect(verification.differences.count == Int(mismatches))
            let recount = try await market.run(at: noon, recounts: true)
            #expect((recount.run.rowsRead, recount.quantities) == (3, [[1, 6], [2, 3]]))
            #expect(try await market.verify().mismatches == 0)
        }
    }

    @Test("rows of another server's transactions are counted once, whatever their numbers")
    func foreignRows() async throws {
        try await Market.with { market in
            try await market.sell(Sale(1, 1, at: noon))
            _ = try await market.run(at: noon)
            try await market.execute(
                """
                INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at, txid)
                VALUES (gen_random_uuid(), 2, 'SALE', 5, 500, '\(noon.ISO8601Format())', '99999999')
                """
            )
            for _ in 0..<3 { #expect(try await market.run(at: noon).quantities == [[2, 5], [1, 1]]) }
            // The numbers of this server have come that far.
            try await market.execute("UPDATE sales_ledger SET txid = pg_current_xact_id() WHERE product_id = 2")
            #expect(try await market.run(at: noon).quantities == [[2, 5], [1, 1]])
            #expect(try await market.run(at: noon).run.rowsRead == 0)
            // And a snapshot of the other server, from before.
            try await market.execute("UPDATE aggregation_runs SET target = '99999999:99999999:'")
            try await market.sell(Sale(1, 7, at: noon))
            #expect(try await market.run(at: noon).quantities == [[1, 8], [2, 5]])
        }
    }

    @Test("of a ledger that is frozen runs take in what is new, and can be verified; a run that is going is waited for")
    func freezesLedger() async throws {
        try await Market.with { market in
            func freeze() async throws -> Int64 {
                let connection = try await market.shop.connect()
                let rows = try await RankingStore.freezeLedger(on: connection, deadline: .now + Shop.timeout)
                await connection.close()
                return rows
            }
            try await market.sell(Sale(1, 1, at: noon))
            _ = try await market.run(at: noon)
            #expect(try await freeze() == 0)
            #expect(try await market.run(at: noon).run.rowsRead == 0)
            // More than a batch, of many transactions and of one.
            try await market.execute(
                """
                INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at, txid)
                SELECT gen_random_uuid(), 2 + n % 2, 'SALE', 1, 7, '\(noon.ISO8601Format())',
                    (99999999 + CASE WHEN n > 6000 THEN 0 ELSE n END)::text::xid8
                FROM generate_series(1, 12000) n
                """
            )
            let before = try await market.run(at: noon)
            #expect((before.run.rowsRead, before.quantities) == (12_001, [[2, 6_000], [3, 6_000], [1, 1]]))
            await #expect(throws: RankingStore.NothingToVerify.self) { try await market.verify() }

            let holder = try await market.shop.connect()
            try await holder.execute(script: "SELECT pg_advisory_lock(7002)", deadline: .now + Shop.timeout)
            async let frozen = freeze()
            try await market.waitForWaiter(7_002)
            try await market.sell(Sale(1, 4, at: noon))
            try await holder.execute(script: "SELECT pg_advisory_unlock(7002)", deadline: .now + Shop.timeout)
            await holder.close()
            #expect(try await frozen == 12_000)

            let sale = Sale(1, 2, at: noon)
            try await market.sell(sale)
            let anew = try await market.run(at: noon)
            #expect((anew.run.rowsRead, anew.quantities) == (12_003, [[2, 6_000], [3, 6_000], [1, 7]]))
            #expect(try await market.verify().mismatches == 0)
            try await market.cancel(sale)
            let next = try await market.run(at: noon)
            #expect((next.run.rowsRead, next.quantities) == (1, [[2, 6_000], [3, 6_000], [1, 5]]))
            #expect(try await market.verify().mismatches == 0)
            #expect(try await freeze() == 0)

            // Before any run has seen them.
            try await market.execute(
                """
                INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at, txid)
                VALUES (gen_random_uuid(), 1, 'SALE', 3, 7, '\(noon.ISO8601Format())', '99999999')
                """
            )
            #expect(try await freeze() == 1)
            #expect(try await market.run(at: noon).quantities == [[2, 6_000], [3, 6_000], [1, 8]])
            #expect(try await market.verify().mismatches == 0)
        }
    }

    @Test("the first run of a restored database replaces the later ones that Redis still has")
    func restoredDatabase() async throws {
        try await Market.with { market in
            func publish(_ quantity: Int32) async throws -> RankingVersion {
                try await market.sell(Sale(1, quantity, at: noon))
                let outcome = try await market.run(at: noon)
                let deadline = ContinuousClock.now + Shop.timeout
                #expect(try await market.board.publish(outcome.run, lists: outcome.lists, deadline: deadline))
                return outcome.run.version
            }
            let first = try await publish(1)
            try await market.execute("CREATE TABLE dump AS SELECT * FROM aggregation_runs")
            let second = try await publish(2)
            let third = try await publish(3)
            #expect(second.epoch == first.epoch && third.epoch == first.epoch)
            // As `pg_restore --clean` does it.
            try await market.execute(
                """
                TRUNCATE aggregation_runs RESTART IDENTITY CASCADE;
                INSERT INTO aggregation_runs OVERRIDING SYSTEM VALUE SELECT * FROM dump;
                SELECT setval(pg_get_serial_sequence('aggregation_runs', 'id'), max(id)) FROM dump;
                """
            )
            let restored = try await publish(4)
            #expect(restored.run < third.run && restored > third)
            #expect(try await publish(5).epoch == restored.epoch)
            // As in another cluster, whose clock is behind.
            try await market.execute("UPDATE aggregation_runs SET incarnation = 'elsewhere', epoch = 9000000000000")
            #expect(try await publish(6).epoch == 9_000_000_000_001)
        }
    }

    @Test("the first run after the schema of before counts everything; until then its list is served")
    func upgrade() async throws {
        try await Market.with { market in
            try await market.shop.migrate(to: 12)
            try await market.execute(
                """
                INSERT INTO products (name, price, initial_stock, stock, created_at, updated_at)
                SELECT 'p' || n, 10, 5, 5, now(), now() FROM generate_series(1, 2) n;
                INSERT INTO aggregation_runs (trigger, as_of, window_from, window_to, base, target, rows_read,
                    products_touched, started_at, finished_at)
                SELECT 'manual', t, t - interval '72 h', t, pg_current_snapshot(), pg_current_snapshot(), 1, 1, t, t
                FROM (SELECT '\(noon.ISO8601Format())'::timestamptz AS t) time;
                INSERT INTO popular_snapshot SELECT 1, r, n, 3 - n, 10 - n, 100 - n
                FROM unnest('{quantity,amount}'::text[]) r, generate_series(1, 2) n;
                INSERT INTO sales_window VALUES (1, 77, 77);
                """
            )
            try await market.sell(Sale(2, 4, at: noon))
            try await market.shop.migrate()
            let before = try await RankingStore.latest(
                .quantity,
                limit: 5,
                from: market.shop.pool,
                deadline: .now + Shop.timeout
            )
            #expect(before?.list.map(\.productID.rawValue) == [2, 1] && before?.list.map(\.quantity) == [9, 8])
            let outcome = try await market.run(at: noon + 1)
            #expect((outcome.run.version.run, outcome.quantities) == (2, [[2, 4]]))
            try await market.shop.migrate(to: 13)
            try await market.shop.migrate()
            #expect(try await market.run(at: noon + 1).quantities == [[2, 4]])
            // A schema made anew counts its runs from 1 again, and yet they are the newer ones.
            try await market.execute("DELETE FROM sales_ledger")
            try await market.shop.migrate(to: 0)
            try await market.shop.migrate()
            let anew = try await market.run(at: noon).run.version
            #expect(anew.run == 1 && anew > outcome.run.version)
        }
    }

    @Test("of more products than a list has, those come up that were not in the last one, and leave it again")
    func moreThanAList() async throws {
        try await Market.with { market in
            var sold: [Int64: Int64] = [:]
            func add(_ sale: Market.Sale, _ sign: Int64 = 1) {
                sold[sale.product, default: 0] += sign * Int64(sale.quantity)
            }
            func expect(_ step: String) async throws {
                let order = sold.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
                let quantities = try await market.run(at: noon).quantities
                #expect(quantities == order.prefix(RankingStore.listLimit).map { [$0.key, $0.value] }, "\(step)")
            }
            // The first has little but for an order that will be cancelled.
            let usual = (1...1_200 as ClosedRange<Int64>).map {
                Market.Sale($0, $0 == 1 ? 1 : 1_201 - Int32($0), at: noon)
            }
            let large = Market.Sale(1, 5_000, at: noon)
            try await market.shop.pool.withConnection(deadline: .now + Shop.timeout) { connection in
                try await Market.sell(usual + [large], on: connection)
            }
            for sale in usual + [large] { add(sale) }
            try await expect("the first list")
            try await market.cancel(large)
            add(large, -1)
            try await expect("one of the list falls far behind, and one that was not in it comes up")
            let late = Market.Sale(1_150, 1_000, at: noon)
            try await market.sell(late)
            add(late)
            try await expect("one that was not in the list comes to its head, and its last leaves")
            try await market.cancel(usual[500])
            add(usual[500], -1)
            sold[501] = nil
            try await expect("one of the list has nothing left")
        }
    }

    @Test("old lists are forgotten, and recent runs are told from the oldest on")
    func history() async throws {
        try await Market.with { market in
            for number in 0..<12 {
                let outcome = try await market.run(at: noon + Double(number))
                try await market.shop.pool.withConnection(deadline: .now + Shop.timeout) { connection in
                    try await RankingStore.mark(
                        outcome.run,
                        number.isMultiple(of: 2) ? .published : .failed,
                        at: noon,
                        on: connection,
                        deadline: .now + Shop.timeout
                    )
                }
            }
            let recent = try await RankingStore.recent(
                after: 9,
                from: market.shop.pool,
                deadline: .now + Shop.timeout
            )
            #expect(recent.runs.map(\.version.run) == [10, 11, 12] && recent.newest == 12)
            #expect(recent.runs.map(\.publication) == [.failed, .published, .failed])
            #expect(recent.lastPublishedAt == noon && recent.mismatches == nil)
            let lists = try await market.shop.pool.query(
                SQLStatement("test_count_lists", "SELECT count(*) AS count FROM popular_snapshot"),
                deadline: .now + Shop.timeout
            )
            #expect(try lists[0].get("count", as: Int64.self) == 20)
        }
    }
}
