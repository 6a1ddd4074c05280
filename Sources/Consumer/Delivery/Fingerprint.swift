import FoundationEssentials

/// A short text that failures of one cause have in common: dead letters are grouped by it.
enum Fingerprint {
    /// The longest one, in characters.
    static let maximumLength = 100

    private struct Problem: Decodable {
        let code: String?
        let title: String?
    }

    /// Of a request: `422 event_rejected`, `timeout`, `network`.
    static func of(_ outcome: RequestOutcome) -> String {
        switch outcome {
        case .answered(let status, _, let message): "\(status) \(cause(message))"
        case .networkFailure: "network"
        case .timedOut: "timeout"
        }
    }

    /// Of a message that is no event.
    static func unreadable(_ reason: String) -> String {
        normalised("unreadable: \(reason)")
    }

    /// The code of an RFC 9457 problem, or the beginning of another text.
    private static func cause(_ message: String) -> String {
        let problem = try? JSONDecoder().decode(Problem.self, from: Data(message.utf8))
        return normalised(problem?.code ?? problem?.title ?? message)
    }

    /// Without what differs from event to event: each word with a digit becomes `#`.
    private static func normalised(_ text: String) -> String {
        let words = text.prefix(1_000).lowercased().split(whereSeparator: \.isWhitespace)
        return String(
            words.map { $0.contains(where: \.isNumber) ? "#" : $0 }.joined(separator: " ").prefix(maximumLength)
        )
    }
}
