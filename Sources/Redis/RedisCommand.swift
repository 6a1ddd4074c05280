/// One command as a list of arguments, the first of which is its name.
///
/// Arguments are binary-safe and go out as they are: there is no format string and nothing to escape. They are put
/// into the wire format (RESP: a count, then each argument with its length) when the command is made, on the caller's
/// thread.
package struct RedisCommand: Sendable, ExpressibleByArrayLiteral {
    /// The command's name in capitals, `""` when there are no arguments.
    let name: String
    let encoded: [UInt8]

    /// A command from strings, sent as UTF-8.
    package init(_ arguments: [String]) {
        name = arguments.first?.uppercased() ?? ""
        encoded = Self.encode(arguments.map(\.utf8))
    }

    /// A command from bytes, for arguments that are no text.
    package init(bytes arguments: [[UInt8]]) {
        name = arguments.first.map { String(decoding: $0, as: UTF8.self).uppercased() } ?? ""
        encoded = Self.encode(arguments)
    }

    /// A command from an array literal of strings: `["GET", key]`.
    package init(arrayLiteral arguments: String...) {
        self.init(arguments)
    }

    /// The bytes of several commands, one after the other.
    static func request(of commands: [RedisCommand]) -> [UInt8] {
        if commands.count == 1 { return commands[0].encoded }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(commands.reduce(0) { $0 + $1.encoded.count })
        for command in commands { bytes.append(contentsOf: command.encoded) }
        return bytes
    }

    private static func encode(_ arguments: [some Collection<UInt8>]) -> [UInt8] {
        var bytes: [UInt8] = []
        // 16 covers the `$`, the length and both line ends of any argument that can be sent.
        bytes.reserveCapacity(arguments.reduce(16) { $0 + $1.count + 16 })
        bytes.append(contentsOf: "*\(arguments.count)\r\n".utf8)
        for argument in arguments {
            bytes.append(contentsOf: "$\(argument.count)\r\n".utf8)
            bytes.append(contentsOf: argument)
            bytes.append(contentsOf: "\r\n".utf8)
        }
        return bytes
    }
}

/// A Lua script that the server runs as one atomic step.
package struct RedisScript: Sendable {
    let source: String

    /// A script whose text is part of the program: values belong into keys and arguments, never into the source.
    package init(_ source: StaticString) {
        self.source = source.description
    }
}
