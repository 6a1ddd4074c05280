import ArgumentParser
import OrderStore
import Postgres
import ServiceRuntime

/// `orderctl migrate`
struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the schema to its newest version; does nothing when it is there already.",
        discussion: OrderCtl.environment
    )

    @Option(help: "The version to reach, forward or back; 0 is an empty schema.")
    var to: Int?

    @Option(help: "text or json.")
    var format = OrderCtl.Format.text

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, _ in
            let migrator = try Migrator(
                Migration.load(from: settings.string("MIGRATIONS_DIR", default: "sql/migrations"))
            )
            let deadline = ContinuousClock.now + .seconds(300)
            let connection = try await PostgresConnection.connect(ownerDatabase(settings), deadline: deadline)
            var changes = 0
            try await migrator.migrate(to: to, on: connection, deadline: deadline) { change in
                changes += 1
                report(change)
            }
            if changes == 0, format == .text { print("nothing to do: the schema is up to date") }
            await connection.close()
        }
    }

    private func report(_ change: Migrator.Change) {
        let (verb, migration) =
            switch change {
            case .applied(let migration): ("applied", migration)
            case .reverted(let migration): ("reverted", migration)
            }
        switch format {
        case .text: print("\(verb) \(migration.version) \(migration.name)")
        case .json: print(#"{"action":"\#(verb)","version":\#(migration.version),"name":"\#(migration.name)"}"#)
        }
    }
}
