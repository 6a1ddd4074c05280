/// Where the database is and how to talk to it; its description and reflection never show the password.
package struct PostgresConfiguration: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable
{
    /// How long one attempt to connect may take; the caller's deadline bounds it as well.
    package var connectTimeout: Duration = .seconds(3)

    /// libpq's parameters, the password among them.
    let parameters: [(keyword: String, value: String)]

    /// A server that takes no data for 3 s, or answers no probe for about 9 s, is taken for lost. Neither notices a
    /// server that is merely stopped: that is what every call's deadline is for. The URL may set its own values.
    private static let defaults: [(keyword: String, value: String)] = [
        ("tcp_user_timeout", "3000"), ("keepalives", "1"), ("keepalives_idle", "5"), ("keepalives_interval", "2"),
        ("keepalives_count", "2"),
    ]

    /// Parses and checks a URL such as `postgres://user:password@host:5432/database?sslmode=require`.
    ///
    /// - Parameter applicationName: shown in `pg_stat_activity`; it wins over the URL's.
    /// - Throws: `.invalidConfiguration`, never quoting the URL.
    package init(url: String, applicationName: String) throws(PostgresError) {
        guard url.hasPrefix("postgres://") || url.hasPrefix("postgresql://"), !url.utf8.contains(0),
            let settings = LibPQConnectionString.parse(url)
        else {
            throw PostgresError(.invalidConfiguration, "the URL is not of the form postgres://user@host/database")
        }
        guard !applicationName.utf8.contains(0) else {
            throw PostgresError(.invalidConfiguration, "the application name has a zero byte")
        }
        let fixed = [("application_name", applicationName), ("client_encoding", "UTF8")]
        let chosen = settings.filter { setting in !fixed.contains { $0.0 == setting.keyword } }
        let missing = Self.defaults.filter { value in !chosen.contains { $0.keyword == value.keyword } }
        parameters = missing + chosen + fixed
    }

    /// User, host, port and database.
    package var description: String {
        func setting(_ keyword: String) -> String {
            parameters.last { $0.keyword == keyword }?.value ?? ""
        }
        return "postgres://\(setting("user"))@\(setting("host")):\(setting("port"))/\(setting("dbname"))"
    }

    /// The same as ``description``.
    package var debugDescription: String { description }

    /// Shows the description only.
    package var customMirror: Mirror { Mirror(self, children: ["description": description]) }
}
