import ArgumentParser

/// `orderctl`: what an operator does by hand.
@main
struct OrderCtl: AsyncParsableCommand {
    static let environment = """
        Environment:
          DATABASE_URL    postgres://user:password@host:port/database of the schema's owner (audit: of a role that
                          may read every table, such as jumun_audit); required
          MIGRATIONS_DIR  folder of the migrations; default sql/migrations
          LOG_LEVEL       trace, debug, info, notice, warning, error or critical; default info
        """

    static let configuration = CommandConfiguration(
        commandName: "orderctl",
        abstract: "Operates Jumun: its schema, its demonstration data and its invariants.",
        discussion: environment,
        subcommands: [Migrate.self, Seed.self, Audit.self]
    )

    /// How a command answers.
    enum Format: String, CaseIterable, ExpressibleByArgument {
        case text
        case json
    }
}
