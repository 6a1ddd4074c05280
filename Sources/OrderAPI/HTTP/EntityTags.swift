import HTTPTypes
import Hummingbird
import OrderDomain
import OrderMessages

/// Names one state of a resource: RFC 9110, section 8.8.3.
struct EntityTag: Equatable, Sendable {
    let value: String
    let isWeak: Bool

    init(_ value: String, isWeak: Bool = false) {
        self.value = value
        self.isWeak = isWeak
    }

    /// The strong tag of a resource at a version.
    init(version: Int64) {
        self.init("\(version)")
    }

    /// As the `ETag` header says it.
    var field: String { isWeak ? "W/\"\(value)\"" : "\"\(value)\"" }
}

/// What `If-Match` or `If-None-Match` holds: RFC 9110, sections 13.1.1 and 13.1.2.
enum EntityTagList: Equatable, Sendable {
    /// `*`: whatever there is.
    case any
    case tags([EntityTag])

    /// Nil when it is not what the RFC allows, or names nothing.
    init?(_ field: String) {
        if field.utf8.elementsEqual("*".utf8) {
            self = .any
            return
        }
        var parser = EntityTagParser(rest: field.utf8[...])
        guard let tags = parser.list(), !tags.isEmpty else { return nil }
        self = .tags(tags)
    }

    /// The strong comparison of `If-Match`: a weak tag never matches.
    func matchesStrongly(_ tag: EntityTag) -> Bool {
        switch self {
        case .any: true
        case .tags(let tags): tags.contains { !$0.isWeak && !tag.isWeak && $0.value == tag.value }
        }
    }

    /// The weak comparison of `If-None-Match`.
    func matchesWeakly(_ tag: EntityTag) -> Bool {
        switch self {
        case .any: true
        case .tags(let tags): tags.contains { $0.value == tag.value }
        }
    }
}

/// Reads a list of entity tags; a comma may stand inside of a tag.
private struct EntityTagParser {
    var rest: Substring.UTF8View

    /// Nil when anything of it is malformed. Empty elements are allowed: RFC 9110, section 5.6.1.2.
    mutating func list() -> [EntityTag]? {
        var tags: [EntityTag] = []
        while true {
            skipSpace()
            if let first = rest.first, first != UInt8(ascii: ",") {
                guard let tag = tag() else { return nil }
                tags.append(tag)
                skipSpace()
            }
            guard let separator = rest.popFirst() else { return tags }
            guard separator == UInt8(ascii: ",") else { return nil }
        }
    }

    private mutating func skipSpace() {
        rest = rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
    }

    private mutating func tag() -> EntityTag? {
        let isWeak = rest.starts(with: "W/".utf8)
        if isWeak { rest = rest.dropFirst(2) }
        guard rest.popFirst() == UInt8(ascii: "\"") else { return nil }
        let value = rest.prefix { $0 == 0x21 || (0x23...0x7E).contains($0) || $0 >= 0x80 }
        rest = rest[value.endIndex...]
        guard rest.popFirst() == UInt8(ascii: "\"") else { return nil }
        return EntityTag(String(Substring(value)), isWeak: isWeak)
    }
}

/// The state in which a client wants the resource to be for the request to be done.
enum Precondition: Equatable, Sendable {
    /// There was no `If-Match`.
    case none
    case ifMatch(EntityTagList)
    /// An `If-Match` that is not understood: nothing matches, so that nothing is overwritten by mistake.
    case never

    /// Whether the request may be done to the resource at this version.
    func allows(version: Int64) -> Bool {
        switch self {
        case .none: true
        case .ifMatch(let list): list.matchesStrongly(EntityTag(version: version))
        case .never: false
        }
    }

    /// The versions in which the resource may be changed; nil when any will do.
    var versions: Set<Int64>? {
        switch self {
        case .none, .ifMatch(.any): nil
        case .ifMatch(.tags(let tags)):
            Set(tags.filter { !$0.isWeak }.compactMap { Int64($0.value) }.filter(allows))
        case .never: []
        }
    }

    /// - Throws: `Problem` with status 412 when the resource at this version is not as the client wants it.
    func require(version: Int64) throws {
        guard allows(version: version) else { throw Problem(.versionMismatch(current: version)) }
    }
}

extension Request {
    /// What the client's `If-Match` asks for.
    var ifMatch: Precondition {
        let fields = headers[values: .ifMatch]
        guard !fields.isEmpty else { return .none }
        return EntityTagList(fields.joined(separator: ", ")).map(Precondition.ifMatch) ?? .never
    }

    /// The states that the client's `If-None-Match` says it has; nil when it has none or is not understood.
    var ifNoneMatch: EntityTagList? {
        let fields = headers[values: .ifNoneMatch]
        return fields.isEmpty ? nil : EntityTagList(fields.joined(separator: ", "))
    }
}
