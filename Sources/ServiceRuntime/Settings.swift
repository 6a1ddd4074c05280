import Configuration

/// The settings of a process, read from environment variables and checked as they are read.
///
/// Keys are the names of the variables, for example `DATABASE_URL`. Every method throws a ``SettingsError`` that names
/// the key and says what is expected, so that a wrong setting ends the start with one clear line.
/// A variable that is set to the empty string counts as wrong, unless the default is the empty string.
package struct Settings: Sendable {
    private let reader: ConfigReader

    /// Reads the process's environment.
    package init() {
        reader = ConfigReader(provider: EnvironmentVariablesProvider())
    }

    /// Reads the values given, for tests.
    package init(_ values: [String: String]) {
        reader = ConfigReader(provider: EnvironmentVariablesProvider(environmentVariables: values))
    }

    /// The text of a setting.
    ///
    /// Throws when it is missing and has no default, or is empty.
    package func string(_ key: String, default fallback: String? = nil) throws(SettingsError) -> String {
        try text(key, fallback: fallback, isSecret: false)
    }

    /// The text of a setting that must not be shown.
    ///
    /// Throws as ``string(_:default:)`` does; the value appears in no error and in no log.
    package func secret(_ key: String, default fallback: String? = nil) throws(SettingsError) -> String {
        try text(key, fallback: fallback, isSecret: true)
    }

    /// A whole number within a range.
    ///
    /// Throws when it is missing and has no default, is not a whole number, or is out of the range.
    package func integer(
        _ key: String,
        default fallback: Int? = nil,
        in range: ClosedRange<Int>
    ) throws(SettingsError) -> Int {
        try integer(key, fallback: fallback, in: range, expected: "a whole number")
    }

    /// A duration, given in whole milliseconds under a key that ends in `_MS`.
    ///
    /// Throws as ``integer(_:default:in:)`` does. Default and range are in milliseconds too.
    package func milliseconds(
        _ key: String,
        default fallback: Int? = nil,
        in range: ClosedRange<Int>
    ) throws(SettingsError) -> Duration {
        precondition(key.hasSuffix("_MS"), "the key of a setting in milliseconds ends in _MS")
        let value = try integer(key, fallback: fallback, in: range, expected: "a whole number of milliseconds")
        return .milliseconds(value)
    }

    /// A TCP port, 1 to 65535; 0 asks the system for a free one.
    ///
    /// Throws as ``integer(_:default:in:)`` does.
    package func port(_ key: String, default fallback: Int) throws(SettingsError) -> Int {
        try integer(key, fallback: fallback, in: 0...65_535, expected: "a port number")
    }

    /// A URL of the form `scheme://[user[:password]@]host[:port][/…]`, as it stands.
    ///
    /// Several hosts may be given with commas between them. Throws when it is missing and has no default, or when
    /// scheme, host or port are wrong; the error never shows the URL, which may carry a password.
    package func url(
        _ key: String,
        default fallback: String? = nil,
        schemes: [String]
    ) throws(SettingsError) -> String {
        let value = try text(key, fallback: fallback, isSecret: true)
        if let problem = URLShape.problem(of: value, schemes: schemes) {
            throw SettingsError(
                key: key,
                problem: "\(problem): expected \(schemes.joined(separator: " or "))://host:port"
            )
        }
        return value
    }

    /// One of the cases of an enumeration, by its raw value.
    ///
    /// Throws when the text is none of them; the error lists them.
    package func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ key: String,
        default fallback: Choice
    ) throws(SettingsError) -> Choice {
        let value = try text(key, fallback: fallback.rawValue, isSecret: false)
        guard let choice = Choice(rawValue: value) else {
            let choices = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw SettingsError(key: key, problem: "is '\(value)': expected one of \(choices)")
        }
        return choice
    }

    private func integer(
        _ key: String,
        fallback: Int?,
        in range: ClosedRange<Int>,
        expected: String
    ) throws(SettingsError) -> Int {
        let value = try text(key, fallback: fallback.map(String.init), isSecret: false)
        guard let number = Int(value), range.contains(number) else {
            let limits = "from \(range.lowerBound) to \(range.upperBound)"
            throw SettingsError(key: key, problem: "is '\(value)': expected \(expected) \(limits)")
        }
        return number
    }

    private func text(_ key: String, fallback: String?, isSecret: Bool) throws(SettingsError) -> String {
        guard let value = reader.string(forKey: ConfigKey([key]), isSecret: isSecret) ?? fallback else {
            throw SettingsError(key: key, problem: "is not set")
        }
        guard !value.isEmpty || fallback == "" else {
            throw SettingsError(key: key, problem: "is empty")
        }
        return value
    }
}

/// A setting that is missing or wrong; the description is one line, made to be shown.
package struct SettingsError: Error, CustomStringConvertible {
    /// The name of the environment variable.
    package let key: String
    /// What is wrong and what is expected, to be read after the key; shows no secret.
    package let problem: String

    /// Creates an error for a rule that goes beyond one value, such as two settings that exclude each other.
    package init(key: String, problem: String) {
        self.key = key
        self.problem = problem
    }

    /// For example `CONSUMER_PREFETCH is 'abc': expected a whole number from 1 to 1000`.
    package var description: String {
        "\(key) \(problem)"
    }
}
