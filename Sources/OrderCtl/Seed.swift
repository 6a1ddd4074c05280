import ArgumentParser
import Foundation
import Logging
import OrderDomain
import OrderStore
import Postgres
import ServiceRuntime

/// `orderctl seed`
struct Seed: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fill an empty shop with products and users for a demonstration.",
        discussion: """
            The catalogue has the columns name, category and price (whole won); the users have name and email. Further
            columns are ignored. A shop that has products already is left as it is.

            \(OrderCtl.environment)
            """
    )

    /// How many users are charged in one transaction.
    private static let chargeBatch = 200
    private static let timeout = Duration.seconds(120)

    @Option(help: "CSV file of products.")
    var catalogue: String

    @Option(help: "CSV file of users.")
    var users: String

    @Option(help: "Pieces of each product.")
    var stock: Int64 = 1_000

    @Option(help: "Balance of each user, in won.")
    var balance: Int64 = 10_000_000

    @Option(help: "How many users at most.")
    var maximumUsers = 100

    func validate() throws {
        guard OrderLimits.stock.contains(stock) else { throw ValidationError("--stock must be \(OrderLimits.stock)") }
        guard OrderLimits.chargeAmount.contains(balance) else {
            throw ValidationError("--balance must be \(OrderLimits.chargeAmount)")
        }
        guard maximumUsers > 0 else { throw ValidationError("--maximum-users must be at least 1") }
    }

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, logger in
            let products = try CSV(path: catalogue).records
            let people = try CSV(path: users).records.prefix(maximumUsers)
            let pool = PostgresPool(configuration: try ownerDatabase(settings), maximumConnections: 1, logger: logger)
            let deadline = ContinuousClock.now + Seed.timeout
            let store = ProductStore(pool)
            let first = try await store.list(.init(), sort: .createdAt, after: nil, limit: 1, deadline: deadline)
            guard first.isEmpty else {
                print("nothing to do: the shop has products already")
                return
            }
            let now = Date().wholeMilliseconds
            let ids = try await add(people, to: UserStore(pool), at: now, deadline: deadline)
            try await charge(ids, through: pool, at: now, deadline: deadline)
            // Products last: they are what says that a shop has been seeded.
            try await add(products, to: store, at: now, deadline: deadline)
            print(
                "added \(products.count) products of \(stock) pieces, and \(ids.count) users with \(balance) won each"
            )
            await pool.close()
        }
    }

    private func add(
        _ records: [CSV.Record],
        to store: ProductStore,
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws {
        for record in records {
            let category = try record.text("category")
            _ = try await store.create(
                name: record.text("name"),
                description: nil,
                category: category.isEmpty ? nil : category,
                price: Money(minorUnits: record.integer("price", in: OrderLimits.price)),
                stock: stock,
                at: now,
                deadline: deadline
            )
        }
    }

    /// A user who is there from an earlier, unfinished seeding is left out.
    private func add(
        _ records: ArraySlice<CSV.Record>,
        to store: UserStore,
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws -> [UserID] {
        var ids: [UserID] = []
        for record in records {
            do {
                let user = try await store.create(
                    name: record.text("name"),
                    email: record.text("email"),
                    at: now,
                    deadline: deadline
                )
                ids.append(user.id)
            } catch is UserStore.EmailTaken {
                continue
            }
        }
        return ids
    }

    /// Through the same two round trips as every charge, so that the history is right.
    private func charge(
        _ users: [UserID],
        through pool: PostgresPool,
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws {
        var rest = users[...]
        while !rest.isEmpty {
            let batch = rest.prefix(Seed.chargeBatch).map { user in
                Command.chargeBalance(
                    ChargeBalance(
                        entryID: .version7(at: now),
                        userID: user,
                        amount: Money(minorUnits: balance),
                        claim: nil,
                        at: now
                    )
                )
            }
            rest = rest.dropFirst(Seed.chargeBatch)
            try await pool.withConnection(deadline: deadline) { connection in
                let open = try await CommitStore.open(
                    batch,
                    lockAccounts: true,
                    keysSince: now,
                    on: connection,
                    deadline: deadline
                )
                try await CommitStore.commit(
                    adjudicate(batch, open.snapshot),
                    events: [],
                    answers: [],
                    at: now,
                    keysSince: now,
                    on: connection,
                    deadline: deadline
                )
            }
        }
    }
}
