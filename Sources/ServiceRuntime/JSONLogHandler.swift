import FoundationEssentials
import Logging

/// Writes each log event as one JSON object on a line of its own.
///
/// Members: `time` (RFC 3339, UTC, milliseconds), `level`, `service`, `message`, then the metadata, flattened with dots
/// and ordered by key. A metadata key that has the name of a member of ours gets `metadata.` before it.
struct JSONLogHandler: LogHandler {
    private static let ownMembers: Set = ["time", "level", "service", "message"]

    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    private let service: String
    private let write: @Sendable (String) -> Void

    /// Creates a handler whose `write` takes a whole line with its line break, on any thread.
    init(service: String, level: Logger.Level, write: @escaping @Sendable (String) -> Void) {
        self.service = service
        self.write = write
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var members = metadata
        if let provided = metadataProvider?.get() { members.merge(provided) { _, new in new } }
        if let given = event.metadata { members.merge(given) { _, new in new } }
        if let error = event.error { members["error"] = "\(error)" }
        write(line(at: Date(), level: event.level, message: event.message.description, members: members))
    }

    func line(at time: Date, level: Logger.Level, message: String, members: Logger.Metadata) -> String {
        var object = JSONObjectText()
        object.add("time", time.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
        object.add("level", level.rawValue)
        object.add("service", service)
        object.add("message", message)
        for (key, value) in members.sorted(by: { $0.key < $1.key }) {
            add(value, under: Self.ownMembers.contains(key) ? "metadata.\(key)" : key, to: &object)
        }
        return object.finished + "\n"
    }

    private func add(_ value: Logger.MetadataValue, under key: String, to object: inout JSONObjectText) {
        if case .dictionary(let members) = value {
            for (name, member) in members.sorted(by: { $0.key < $1.key }) {
                add(member, under: "\(key).\(name)", to: &object)
            }
        } else {
            object.add(key, json: json(value))
        }
    }

    private func json(_ value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text):
            return JSONObjectText.string(text)
        case .stringConvertible(let value):
            switch value {
            case let number as any FixedWidthInteger: return "\(number)"
            case let number as Double where number.isFinite: return "\(number)"
            case let flag as Bool: return "\(flag)"
            default: return JSONObjectText.string("\(value)")
            }
        case .array(let values):
            return "[" + values.map(json).joined(separator: ",") + "]"
        case .dictionary(let members):
            var object = JSONObjectText()
            for (name, member) in members.sorted(by: { $0.key < $1.key }) { object.add(name, json: json(member)) }
            return object.finished
        }
    }
}
